"""Logits of the next token: what is no output of a sound model, logarithms, and which tokens may come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from vlp_spec.errors import InferenceError

from vlp_pipeline.decoding_plan import DecodingPlan


def sound_logits(logits: np.ndarray, rows: Sequence[int]) -> np.ndarray:
    """The rows that matter, checked. -infinity passes: so models say that a token cannot come.

    Args:
        logits: (all rows, vocabulary) float.
        rows: those that matter; the others are not looked at.

    Returns:
        (rows, vocabulary) float32.

    Raises:
        InferenceError: another shape, NaN or +infinity, or a row in which no token can come.
    """
    if logits.ndim != 2 or len(logits) <= max(rows):
        raise InferenceError(f"model output: logits {logits.shape}, expected (rows, vocabulary) with {len(rows)} rows")
    chosen = np.asarray(logits[list(rows)], dtype=np.float32)
    # The greatest tells all: NaN if there is one, and -infinity if there is nothing else.
    if not np.isfinite(chosen.max(axis=-1)).all():
        raise InferenceError("model output: logits of the next token that are not numbers, for this item alone")
    return chosen


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the softmax over the last axis; same shape and dtype."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def no_token_left() -> InferenceError:
    """The fault of a model that would only end a text that must not end yet."""
    return InferenceError("model output: no token but the end is possible, and min_tokens forbids it, for this item")


class TokenRules:
    """What a plan does to the scores of the next token, in transformers' order: repetitions, then the early end.

    Args:
        plan: its `min_tokens`, `repetition_penalty` and `end_id` count.
        prompt_ids: (tokens,) int, what the text begins with; repeating it counts, too.
    """

    def __init__(self, plan: DecodingPlan, prompt_ids: Sequence[int] | np.ndarray) -> None:
        self._prompt = {int(token) for token in prompt_ids}
        self._penalty = np.float32(plan.repetition_penalty)
        self._min_tokens = plan.min_tokens
        self._end_id = plan.end_id

    def apply(self, scores: np.ndarray, tokens: Sequence[int]) -> np.ndarray:
        """The scores under the rules.

        Args:
            scores: (vocabulary,) float32, logits or their logarithms; not changed.
            tokens: of the text so far, the prompt left out.
        """
        if self._penalty == 1 and len(tokens) >= self._min_tokens:
            return scores
        ruled = scores.copy()
        if self._penalty != 1:
            # A tokenizer may know words that the model cannot say.
            seen = [token for token in self._prompt.union(tokens) if token < len(scores)]
            ruled[seen] = np.where(scores[seen] < 0, scores[seen] * self._penalty, scores[seen] / self._penalty)
        if len(tokens) < self._min_tokens:
            ruled[self._end_id] = -np.inf
        return ruled
