from typing import Any

import pytest
from vlp_pipeline.generation import DecodingPlan, fill_decoding
from vlp_spec.errors import InvalidArgumentError, TooLargeError
from vlp_spec.tasks import Decoding

DEFAULTS = Decoding(max_tokens=20, min_tokens=5, num_beams=3, length_penalty=0.5)


def fill(decoding: Decoding, defaults: Decoding = DEFAULTS, num_texts: int = 1, room: int = 30) -> DecodingPlan:
    return fill_decoding(decoding, defaults, num_texts=num_texts, room=room, end_id=2, pad_id=0)


def test_what_is_not_asked_is_the_model_s_own() -> None:
    plan = fill(Decoding())
    assert (plan.max_tokens, plan.min_tokens, plan.num_beams, plan.length_penalty) == (20, 5, 3, 0.5)
    assert (plan.samples, plan.end_id, plan.pad_id, plan.repetition_penalty) == (False, 2, 0, 1.0)
    bare = fill(Decoding(), Decoding())
    assert (bare.max_tokens, bare.min_tokens, bare.num_beams, bare.length_penalty) == (30, 0, 1, 1.0)


def test_what_is_asked_goes_before_the_defaults() -> None:
    plan = fill(Decoding(max_tokens=9, min_tokens=0, num_beams=1, length_penalty=0.0))
    assert (plan.max_tokens, plan.min_tokens, plan.num_beams, plan.length_penalty) == (9, 0, 1, 0.0)
    drawn = fill(Decoding(temperature=0.7, top_p=0.9, seed=4), num_texts=6)
    assert (drawn.samples, drawn.num_beams, drawn.num_texts) == (True, 1, 6)
    assert (drawn.temperature, drawn.top_p, drawn.seed) == (0.7, 0.9, 4)


def test_defaults_give_way() -> None:
    assert fill(Decoding(), num_texts=5).num_beams == 5
    assert fill(Decoding(max_tokens=3)).min_tokens == 3
    short = fill(Decoding(), room=4)
    assert (short.max_tokens, short.min_tokens) == (4, 4)


@pytest.mark.parametrize(
    ("decoding", "num_texts", "field", "words"),
    [
        (Decoding(max_tokens=31), 1, "max_tokens", "got 31, behind this prompt the model has room for 30"),
        (Decoding(min_tokens=21), 1, "min_tokens", "got 21, expected 0 to max_tokens, 20"),
        (Decoding(num_beams=2), 3, "num_texts", "got 3, expected 1 to num_beams, 2, unless"),
    ],
)
def test_what_cannot_be_done_is_refused(decoding: Decoding, num_texts: int, field: str, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words) as refused:
        fill(decoding, num_texts=num_texts)
    assert refused.value.field == field


def test_a_prompt_leaves_room() -> None:
    assert fill(Decoding(), room=1).max_tokens == 1
    with pytest.raises(TooLargeError, match="prompt: longer than the model reads"):
        fill(Decoding(), room=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_tokens": 0},
        {"min_tokens": -1},
        {"min_tokens": 10},
        {"num_beams": 0},
        {"num_beams": 2, "temperature": 1.0},
        {"num_texts": 0},
        {"num_texts": 2},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"repetition_penalty": 0.0},
    ],
)
def test_a_plan_is_in_range(changes: dict[str, Any]) -> None:
    settings: dict[str, Any] = {
        "max_tokens": 9,
        "min_tokens": 0,
        "num_beams": 1,
        "num_texts": 1,
        "length_penalty": 1.0,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": None,
        "end_id": 2,
        "pad_id": 0,
    }
    DecodingPlan(**settings)
    with pytest.raises(InvalidArgumentError, match=f"^{next(iter(changes))}: got"):
        DecodingPlan(**settings | changes)
