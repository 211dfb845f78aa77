"""Beam search against counting all texts out, and where it must not stumble; see test_generation_reference.py."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from vlp_pipeline.generation import BeamSearch, DecodingPlan, GeneratedText

Model = Callable[[tuple[int, ...]], np.ndarray]
END, PAD, MOST = 2, 0, 3


def plan(**changes: Any) -> DecodingPlan:
    settings: dict[str, Any] = {
        "max_tokens": MOST,
        "min_tokens": 0,
        "num_beams": 2,
        "num_texts": 2,
        "length_penalty": 0.0,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": None,
        "end_id": END,
        "pad_id": PAD,
    }
    return DecodingPlan(**settings | changes)


def search(model: Model, settings: DecodingPlan) -> tuple[GeneratedText, ...]:
    """Rows that read the pad token get NaN, which must not matter: only spare rows do, as these models never say it."""
    generation = BeamSearch(settings, [1])
    step = generation.start(model(()))
    rows: list[tuple[int, ...]] = [()]
    while not step.done:
        rows = [(*rows[parent], token) for parent, token in zip(step.parents, step.tokens.tolist(), strict=True)]
        logits = [np.full(5, np.nan, dtype=np.float32) if text[-1] == PAD else model(text) for text in rows]
        step = generation.advance(np.stack(logits))
    return generation.texts()


def random_model(seed: int) -> Model:
    """Five tokens, the first of which never comes."""

    def logits(text: tuple[int, ...]) -> np.ndarray:
        values = np.random.default_rng([seed, len(text), *text]).normal(0, 2, 5).astype(np.float32)
        values[PAD] = -np.inf
        return values

    return logits


def every_text(model: Model) -> dict[tuple[int, ...], float]:
    """All texts of up to three tokens, the end included, with their probabilities."""
    found: dict[tuple[int, ...], float] = {}
    for length in range(1, MOST + 1):
        for text in itertools.product((1, 2, 3, 4), repeat=length):
            if END in text[:-1] or (length < MOST and text[-1] != END):
                continue
            steps = [np.exp(model(text[:place]).astype(np.float64)) for place in range(length)]
            found[text] = math.prod(step[token] / step.sum() for step, token in zip(steps, text, strict=True))
    return found


@pytest.mark.parametrize("seed", range(10))
def test_wide_beams_find_the_likeliest_of_all_texts(seed: int) -> None:
    model = random_model(seed)
    likeliest = sorted(every_text(model).items(), key=lambda pair: -pair[1])[:16]
    texts = search(model, plan(num_beams=16, num_texts=16))
    assert [(*text.tokens, END) if text.ended else text.tokens for text in texts] == [text for text, _ in likeliest]
    assert [text.log_probability for text in texts] == pytest.approx([math.log(p) for _, p in likeliest], abs=1e-5)
    assert [text.beam_score for text in texts] == pytest.approx([math.log(p) for _, p in likeliest], abs=1e-5)


def test_two_beams_see_what_the_likeliest_word_hides() -> None:
    def model(text: tuple[int, ...]) -> np.ndarray:
        # After 3 nothing is likely; after 4 the end is sure.
        likely = {(): (0, 0, 0, 0.6, 0.4), (4,): (0, 0, 1, 0, 0)}.get(text, (0, 0.25, 0.25, 0.25, 0.25))
        with np.errstate(divide="ignore"):
            return np.log(np.array(likely, dtype=np.float32))

    best = search(model, plan(num_texts=1))
    assert [(text.tokens, text.ended) for text in best] == [((4,), True)]
    assert best[0].log_probability == pytest.approx(math.log(0.4))


def test_equal_texts_keep_the_order_of_beam_and_vocabulary() -> None:
    texts = search(lambda _: np.array([-np.inf, 0, -9, 0, 0], dtype=np.float32), plan(num_beams=4, num_texts=4))
    assert [text.tokens for text in texts] == [(1, 1, 1), (1, 1, 3), (1, 1, 4), (1, 3, 1)]


def test_fewer_texts_where_no_more_are_possible() -> None:
    def model(text: tuple[int, ...]) -> np.ndarray:
        values = np.full(5, -np.inf, dtype=np.float32)
        values[END if text else 3] = 0
        return values

    texts = search(model, plan(num_beams=3, num_texts=3))
    assert [(text.tokens, text.ended, text.score) for text in texts] == [((3,), True, 1.0)]


def test_the_repetition_penalty_moves_the_choice_and_not_the_probability() -> None:
    model = random_model(1)
    texts = search(model, plan(num_beams=4, num_texts=4, repetition_penalty=1.5))
    known = every_text(model)
    for text in texts:
        whole = (*text.tokens, END) if text.ended else text.tokens
        assert text.log_probability == pytest.approx(math.log(known[whole]), abs=1e-5)
    assert any(text.beam_score != pytest.approx(text.log_probability, abs=1e-3) for text in texts)


def test_the_step_says_whose_states_go_on() -> None:
    generation = BeamSearch(plan(), [1])
    first = generation.start(np.array([-9, -9, -9, 2, 1.5], dtype=np.float32))
    assert (first.tokens.tolist(), first.parents.tolist()) == ([3, 4], [0, 0])
    second = generation.advance(np.array([[0, 0, 0, 0, 0], [-9, 5, -9, 4.9, -9]], dtype=np.float32))
    assert (second.tokens.tolist(), second.parents.tolist()) == ([1, 3], [1, 1])
    assert (second.said, second.done) == ((), False)
