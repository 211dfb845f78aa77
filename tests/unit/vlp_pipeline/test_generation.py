import math
from typing import Any

import numpy as np
import pytest
from vlp_pipeline.generation import (
    BeamSearch,
    DecodingPlan,
    GeneratedText,
    GreedySearch,
    SampledTexts,
    begin_generation,
    rank_answers,
)
from vlp_spec.errors import InferenceError, InternalError

END, PAD = 2, 0
GREEDY: dict[str, Any] = {}
BEAMS: dict[str, Any] = {"num_beams": 2, "num_texts": 2}
SAMPLED: dict[str, Any] = {"temperature": 1.0, "seed": 3, "num_texts": 2}
ALL = pytest.mark.parametrize("options", [GREEDY, BEAMS, SAMPLED], ids=["greedy", "beams", "sampled"])


def plan(**changes: Any) -> DecodingPlan:
    settings: dict[str, Any] = {
        "max_tokens": 4,
        "min_tokens": 0,
        "num_beams": 1,
        "num_texts": 1,
        "length_penalty": 1.0,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": None,
        "end_id": END,
        "pad_id": PAD,
    }
    return DecodingPlan(**settings | changes)


def row(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize(
    ("options", "kind", "rows"),
    [(GREEDY, GreedySearch, 1), (BEAMS, BeamSearch, 2), ({"num_beams": 5}, BeamSearch, 5), (SAMPLED, SampledTexts, 2)],
)
def test_the_plan_chooses_the_algorithm(options: dict[str, Any], kind: type, rows: int) -> None:
    generation = begin_generation(plan(**options), [1])
    assert isinstance(generation, kind)
    assert generation.rows == rows
    step = generation.start(row(0, 0, 0, 1, 2, 3))
    assert step.tokens.shape == step.parents.shape == (rows,)
    assert step.tokens.dtype == step.parents.dtype == np.int32
    assert step.parents.tolist() == [0] * rows


def test_greedy_search_says_each_token_at_once_and_takes_the_first_of_equal_ones() -> None:
    generation = begin_generation(plan(), np.array([1]))
    steps = [
        generation.start(row(0, 0, 0, 0, 5, 5)),
        generation.advance(row(0, 0, 0, 5, 0, 0)[None]),
        generation.advance(row(0, 0, 5, 0, 0, 0)[None]),
    ]
    assert [(step.tokens.tolist(), step.said, step.done) for step in steps] == [
        ([4], (4,), False),
        ([3], (3,), False),
        ([END], (), True),
    ]
    (text,) = generation.texts()
    each = [math.exp(5) / (2 * math.exp(5) + 4), math.exp(5) / (math.exp(5) + 5), math.exp(5) / (math.exp(5) + 5)]
    assert (text.tokens, text.counted, text.ended, text.beam_score) == ((4, 3), 3, True, None)
    assert text.log_probability == pytest.approx(math.log(math.prod(each)))
    assert text.score == pytest.approx(math.prod(each) ** (1 / 3))


def test_a_text_without_end_stops_at_its_most_tokens() -> None:
    generation = begin_generation(plan(max_tokens=2), [1])
    assert not generation.start(row(0, 0, 0, 5)).done
    last = generation.advance(row(0, 0, 0, 5)[None])
    assert (last.said, last.done) == ((3,), True)
    assert (generation.texts()[0].counted, generation.texts()[0].ended) == (2, False)


def test_the_score_is_a_mean_over_tokens() -> None:
    assert GeneratedText((3,), math.log(0.25), 2, True).score == pytest.approx(0.5)
    assert GeneratedText((), 0.0, 1, True).score == 1.0


@ALL
@pytest.mark.parametrize("seed", range(8))
def test_what_is_said_is_the_best_text(options: dict[str, Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    generation = begin_generation(plan(max_tokens=9, **options), [1])
    step = generation.start(rng.normal(0, 2, 6).astype(np.float32))
    said = list(step.said)
    while not step.done:
        step = generation.advance(rng.normal(0, 2, (generation.rows, 6)).astype(np.float32))
        said += step.said
    texts = generation.texts()
    assert tuple(said) == texts[0].tokens
    assert len(texts) == options.get("num_texts", 1)
    assert all(END not in text.tokens and text.counted == len(text.tokens) + text.ended for text in texts)
    assert all(0 < text.score <= 1 for text in texts)


@ALL
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_numbers_fail_the_item(options: dict[str, Any], value: float) -> None:
    with pytest.raises(InferenceError, match=r"model output: .* not numbers, for this item alone"):
        begin_generation(plan(**options), [1]).start(row(0, 1, 0, value, 0))
    generation = begin_generation(plan(**options), [1])
    generation.start(row(-9, -9, -9, 1, 1))
    broken = np.zeros((generation.rows, 5), dtype=np.float32)
    broken[-1, 3] = value
    with pytest.raises(InferenceError, match="not numbers"):
        generation.advance(broken)


@ALL
def test_a_token_may_be_impossible_but_not_all(options: dict[str, Any]) -> None:
    never = -np.inf
    generation = begin_generation(plan(**options, min_tokens=1), [1])
    step = generation.start(row(never, never, 9, 0, 0))
    assert set(step.tokens.tolist()) <= {3, 4}
    with pytest.raises(InferenceError, match="not numbers"):
        generation.advance(np.full((generation.rows, 5), never, dtype=np.float32))
    with pytest.raises(InferenceError, match="no token but the end is possible, and min_tokens forbids it"):
        begin_generation(plan(**options, min_tokens=1), [1]).start(row(never, never, 9, never, never))


@ALL
@pytest.mark.parametrize("shape", [(), (1, 5)])
def test_logits_of_another_shape_fail(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    with pytest.raises(InferenceError, match="model output: logits"):
        begin_generation(plan(**options), [1]).start(np.zeros(shape, dtype=np.float32))
    generation = begin_generation(plan(**options), [1])
    generation.start(row(-9, -9, -9, 1, 1))
    with pytest.raises(InferenceError, match=r"model output: logits \(0, 5\), expected \(rows, vocabulary\)"):
        generation.advance(np.zeros((0, 5), dtype=np.float32))


@ALL
def test_steps_end_and_texts_wait(options: dict[str, Any]) -> None:
    generation = begin_generation(plan(**options, max_tokens=2), [1])
    generation.start(row(-9, -9, -9, 1, 1))
    with pytest.raises(InternalError):
        generation.texts()
    logits = np.tile(row(-9, -9, 9, 1, 1), (generation.rows, 1))
    assert generation.advance(logits).done
    with pytest.raises(InternalError):
        generation.advance(logits)
    assert generation.texts()


@pytest.mark.parametrize("penalty", [2.0, 0.5])
def test_the_prompt_counts_as_said_and_words_beyond_the_vocabulary_do_not_matter(penalty: float) -> None:
    generation = begin_generation(plan(repetition_penalty=penalty, max_tokens=1), [3, 4, 99])
    # Of the prompt's tokens the positive one is divided, the negative one multiplied.
    (token,) = generation.start(row(-3, -3, -3, 4, -2, 3)).tokens.tolist()
    assert token == (5 if penalty == 2 else 3)
    again = begin_generation(plan(repetition_penalty=penalty, max_tokens=1), [4])
    assert again.start(row(-9, -9, -9, -3, -2)).tokens.tolist() == ([3] if penalty == 2 else [4])


def test_answers_are_ranked_by_the_probability_of_all_their_tokens() -> None:
    likely = np.log(row(0.5, 0.25, 0.125, 0.125))
    other = np.log(row(0.1, 0.2, 0.3, 0.4))
    logits = np.stack([np.stack([likely, other + 7, likely]), np.stack([likely, other, np.full(4, np.nan)])])
    ids = np.array([[1, 3, 2], [0, 2, PAD]], dtype=np.int32)
    ranked = rank_answers(logits, ids, np.array([3, 2]))
    assert ranked.dtype == np.float64
    assert ranked == pytest.approx([math.log(0.25 * 0.4 * 0.125), math.log(0.5 * 0.3)], abs=1e-6)


def test_an_answer_can_be_impossible_and_broken_logits_are_a_fault() -> None:
    ids, lengths = np.array([[1, 2]]), np.array([2])
    logits = np.zeros((1, 2, 4), dtype=np.float32)
    logits[0, 1, 2] = -np.inf
    assert rank_answers(logits, ids, lengths).tolist() == [-np.inf]
    for value in (np.nan, np.inf):
        logits[0, 1, 0] = value
        with pytest.raises(InferenceError, match="not numbers, for this item alone"):
            rank_answers(logits, ids, lengths)
    with pytest.raises(InferenceError, match=r"logits \(1, 1, 4\), expected \(1, 2, 'vocabulary'\)"):
        rank_answers(logits[:, :1], ids, lengths)
