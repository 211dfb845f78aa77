from typing import Any

import numpy as np
import pytest
import torch
from transformers import TemperatureLogitsWarper, TopPLogitsWarper
from vlp_pipeline.generation import DecodingPlan, SampledTexts
from vlp_pipeline.token_sampling import draw_token, sampling_probabilities

END, PAD = 2, 0
CHI_SQUARE_5 = 20.52
"""What chi-square with 5 degrees of freedom exceeds once in a thousand times."""
LOGITS = np.array([0.0, 1.0, -1.0, 2.0, 0.5, 1.5], dtype=np.float32)


def plan(**changes: Any) -> DecodingPlan:
    settings: dict[str, Any] = {
        "max_tokens": 8,
        "min_tokens": 0,
        "num_beams": 1,
        "num_texts": 1,
        "length_penalty": 1.0,
        "temperature": 1.0,
        "top_p": 1.0,
        "seed": 5,
        "end_id": END,
        "pad_id": PAD,
    }
    return DecodingPlan(**settings | changes)


def draw(settings: DecodingPlan, logits: np.ndarray) -> np.ndarray:
    """Tokens read by each row, (steps, rows), where every step has the same logits."""
    generation = SampledTexts(settings, [1])
    step = generation.start(logits)
    read = [step.tokens]
    while not step.done:
        step = generation.advance(np.tile(logits, (settings.num_texts, 1)))
        read.append(step.tokens)
    return np.stack(read)


def chi_square(tokens: np.ndarray, expected: np.ndarray) -> float:
    counts = np.bincount(tokens.ravel(), minlength=len(expected))
    return float(((counts - expected * tokens.size) ** 2 / (expected * tokens.size)).sum())


@pytest.mark.parametrize(("texts", "tokens"), [(3000, 1), (1, 3000)])
@pytest.mark.parametrize("temperature", [1.0, 0.6, 2.5])
def test_tokens_are_drawn_by_their_probabilities(texts: int, tokens: int, temperature: float) -> None:
    drawn = draw(
        plan(num_texts=texts, max_tokens=tokens, temperature=temperature, end_id=6), np.append(LOGITS, -np.inf)
    )
    expected = torch.tensor(LOGITS.astype(np.float64) / temperature).softmax(0).numpy()
    assert drawn.size == 3000
    assert chi_square(drawn, expected) < CHI_SQUARE_5
    assert chi_square(drawn, np.roll(expected, 1)) > CHI_SQUARE_5


@pytest.mark.parametrize("temperature", [1.0, 0.5, 1.7])
@pytest.mark.parametrize("top_p", [1e-6, 0.1, 0.5, 0.9, 0.99, 1.0])
def test_the_tokens_drawn_among_are_those_of_transformers(temperature: float, top_p: float) -> None:
    rng = np.random.default_rng(11)
    for spread in (0.1, 1.0, 5.0):
        scores = rng.normal(0, spread, (30, 300)).astype(np.float32)
        scores[:, ::7] = -np.inf
        warped = TemperatureLogitsWarper(temperature)(None, torch.tensor(scores))
        warped = TopPLogitsWarper(top_p)(None, warped) if top_p < 1 else warped
        own = np.stack([sampling_probabilities(row, temperature, top_p) for row in scores])
        assert np.array_equal(own > 0, warped.isfinite().numpy())
        assert own == pytest.approx(warped.double().softmax(-1).numpy(), abs=1e-6)


def test_of_equal_tokens_those_of_transformers_are_kept() -> None:
    scores = np.zeros(8, dtype=np.float32)
    for top_p in (0.5, 1e-17):
        warped = TopPLogitsWarper(top_p)(None, torch.tensor(scores)[None])[0]
        assert np.array_equal(sampling_probabilities(scores, 1.0, top_p) > 0, warped.isfinite().numpy())


def test_a_cold_text_is_the_greedy_one() -> None:
    for temperature in (0.01, 1e-30, 5e-324):
        assert draw(plan(temperature=temperature), LOGITS).ravel().tolist() == [3] * 8


def test_a_seed_draws_the_same_and_none_another() -> None:
    flat = np.zeros(50, dtype=np.float32)
    settings = plan(max_tokens=40, end_id=49, min_tokens=40)
    assert np.array_equal(draw(settings, flat), draw(settings, flat))
    for seed in (6, None):
        other = plan(max_tokens=40, end_id=49, min_tokens=40, seed=seed)
        assert not np.array_equal(draw(settings, flat), draw(other, flat))
        assert np.array_equal(draw(other, flat), draw(other, flat)) == (seed is not None)


def test_a_text_does_not_hang_on_its_neighbours() -> None:
    many, few = draw(plan(num_texts=5, max_tokens=20), LOGITS), draw(plan(num_texts=2, max_tokens=20), LOGITS)
    shared = min(len(many), len(few))
    assert np.array_equal(many[:shared, :2], few[:shared])
    assert len({tuple(text) for text in many.T.tolist()}) == 5


def test_a_finished_row_reads_padding_and_its_logits_are_not_looked_at() -> None:
    generation = SampledTexts(plan(num_texts=6, max_tokens=5), [1])
    step = generation.start(LOGITS + np.array([0, 0, 2, 0, 0, 0], dtype=np.float32))
    ended = step.tokens == END
    assert 0 < ended.sum() < 6
    while not step.done:
        logits = np.tile(LOGITS, (6, 1))
        logits[ended] = np.nan
        step = generation.advance(logits)
        assert step.parents.tolist() == list(range(6))
        assert (step.tokens[ended] == PAD).all()
        ended |= step.tokens == END
    texts = generation.texts()
    assert [text.score for text in texts] == sorted((text.score for text in texts), reverse=True)
    assert sum(text.ended for text in texts) == ended.sum()


def test_no_text_ends_before_its_least_length() -> None:
    sure = np.array([0, 0, 9, 0, 0, 0], dtype=np.float32)
    read = draw(plan(num_texts=20, min_tokens=3), sure)
    assert (read[:3] != END).all()
    assert (read[3] == END).mean() > 0.9


def test_a_text_is_worth_what_the_model_gives_it() -> None:
    generation = SampledTexts(plan(max_tokens=1, temperature=0.3, top_p=0.2, min_tokens=1), [1])
    assert generation.start(LOGITS).said == (3,)
    (text,) = generation.texts()
    assert text.score == pytest.approx(torch.tensor(LOGITS).softmax(0)[3].item())


class _Fixed(np.random.Generator):
    """Always the same number."""

    def __init__(self, number: float) -> None:
        super().__init__(np.random.PCG64(0))
        self._number = number

    def random(self, *args: Any, **options: Any) -> Any:
        return self._number


@pytest.mark.parametrize(("number", "token"), [(0.0, 1), (0.2499, 1), (0.25, 3), (1 - 2**-53, 3), (1.0, 3)])
def test_an_impossible_token_is_never_drawn(number: float, token: int) -> None:
    assert draw_token(np.array([0, 0.25, 0, 0.75, 0]), _Fixed(number)) == token
