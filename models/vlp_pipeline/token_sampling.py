"""Sampling: tokens drawn by chance, from probabilities that a temperature flattens and top_p cuts.

Source of top-p: Holtzman et al. 2020 (arXiv:1904.09751), sec. 3.1; the kept tokens are those of transformers 5.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vlp_pipeline.decoding_plan import DecodingPlan
from vlp_pipeline.generation_steps import GeneratedText, GrowingText, NextStep, step_after_the_last
from vlp_pipeline.token_scores import TokenRules, log_softmax, no_token_left, sound_logits


def sampling_probabilities(scores: np.ndarray, temperature: float, top_p: float) -> np.ndarray:
    """What the next token is drawn from.

    Args:
        scores: (vocabulary,) float, at least one of them finite.
        temperature: above 0; the scores are divided by it.
        top_p: the likeliest tokens are kept until they have so much of the probability, at least one; of equal ones
            the last in the vocabulary are kept.

    Returns:
        (vocabulary,) float64 that adds up to 1; 0 where a token cannot come.
    """
    # The greatest is taken off first: a temperature close to 0 makes -infinity of the others, which is right.
    with np.errstate(over="ignore"):
        powers = np.exp((scores.astype(np.float64) - float(scores.max())) / temperature)
    probabilities = powers / powers.sum()
    if top_p < 1:
        # Tokens that are dropped even if all were as likely need no place in the order, and they are nearly all.
        rare = probabilities < min((1 - top_p) / len(probabilities), probabilities.max())
        common = np.flatnonzero(~rare)
        rising = common[np.argsort(probabilities[common], kind="stable")]
        dropped = probabilities[rare].sum() + np.cumsum(probabilities[rising]) <= 1 - top_p
        dropped[-1] = False
        probabilities[rare] = 0
        probabilities[rising[dropped]] = 0
        probabilities /= probabilities.sum()
    return np.asarray(probabilities)


def draw_token(probabilities: np.ndarray, generator: np.random.Generator) -> int:
    """Draw by one number of the generator, so that the n-th token of a text always takes the n-th number."""
    upper = np.cumsum(probabilities)
    drawn = int(np.searchsorted(upper, generator.random() * upper[-1], side="right"))
    # Rounding can bring the number up to the sum itself.
    return min(drawn, int(np.flatnonzero(probabilities)[-1]))


class SampledTexts:
    """Several texts, each drawn from a stream of its own. See `Generation`.

    The stream of a text hangs on the seed and the text's place alone: asking for more texts leaves the first ones as
    they were.
    """

    def __init__(self, plan: DecodingPlan, prompt_ids: Sequence[int] | np.ndarray) -> None:
        self.rows = plan.num_texts
        self._plan = plan
        self._rules = TokenRules(plan, prompt_ids)
        self._texts = [GrowingText(plan.end_id, plan.max_tokens) for _ in range(plan.num_texts)]
        streams = np.random.SeedSequence(plan.seed).spawn(plan.num_texts)
        self._generators = [np.random.default_rng(stream) for stream in streams]

    def start(self, logits: np.ndarray) -> NextStep:
        """See `Generation`."""
        prompt = sound_logits(logits[None], (0,))
        return self._grow(dict.fromkeys(range(self.rows), prompt[0]), np.zeros(self.rows, dtype=np.int32))

    def advance(self, logits: np.ndarray) -> NextStep:
        """See `Generation`."""
        growing = [row for row, text in enumerate(self._texts) if not text.finished]
        if not growing:
            raise step_after_the_last()
        chosen = sound_logits(logits, growing)
        return self._grow(dict(zip(growing, chosen, strict=True)), np.arange(self.rows, dtype=np.int32))

    def texts(self) -> tuple[GeneratedText, ...]:
        """See `Generation`; the likeliest by its geometric mean first."""
        return tuple(sorted((text.text() for text in self._texts), key=lambda text: -text.score))

    def _grow(self, logits: dict[int, np.ndarray], parents: np.ndarray) -> NextStep:
        """Draw a token for each given row."""
        tokens = np.full(self.rows, self._plan.pad_id, dtype=np.int32)
        said: tuple[int, ...] = ()
        for row, scores in logits.items():
            text = self._texts[row]
            tokens[row] = token = self._draw(row, self._rules.apply(scores, text.tokens))
            added = text.add(token, float(log_softmax(scores)[token]))
            said = added if self.rows == 1 else ()
        done = all(text.finished for text in self._texts)
        if done and self.rows > 1:
            said = self.texts()[0].tokens
        return NextStep(tokens, parents, said, done)

    def _draw(self, row: int, scores: np.ndarray) -> int:
        if scores.max() == -np.inf:
            raise no_token_left()
        probabilities = sampling_probabilities(scores, self._plan.temperature, self._plan.top_p)
        return draw_token(probabilities, self._generators[row])
