"""How likely a decoder deems given answers: their order answers a question from a closed list.

Source: salesforce/BLIP, models/blip_vqa.py, rank_answer (Li et al. 2022, arXiv:2201.12086).
"""

from __future__ import annotations

import numpy as np
from vlp_spec.errors import InferenceError

from vlp_pipeline.token_scores import log_softmax


def rank_answers(logits: np.ndarray, answer_ids: np.ndarray, lengths: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    """Log-probabilities of answers, each the sum over its tokens, the end included.

    Args:
        logits: (answers, tokens, vocabulary) float, where each row read the start token and then the answer without
            its last token: what stands at t tells token t of the answer.
        answer_ids: (answers, tokens) int, each answer and the end, padded behind it.
        lengths: (answers,) int, how many of the tokens are real, the end included.
        smoothing: share of each token's weight that goes to all words alike, as in the loss that the published code
            ranks by; 0 for the plain log-probability.

    Returns:
        (answers,) float64, 0 or less; -infinity for what the model deems impossible.

    Raises:
        InferenceError: another shape, or NaN or +infinity where a real token is.
    """
    if logits.shape[:-1] != answer_ids.shape:
        raise InferenceError(f"model output: logits {logits.shape}, expected {(*answer_ids.shape, 'vocabulary')}")
    totals = np.zeros(len(answer_ids), dtype=np.float64)
    # Answer by answer: all at once in float64 would be twice the logits, which are large.
    for row, length in enumerate(lengths):
        real = logits[row, :length].astype(np.float64)
        if not np.isfinite(real.max(axis=-1)).all():
            raise InferenceError("model output: logits of an answer that are not numbers, for this item alone")
        scores = log_softmax(real)
        totals[row] = (1 - smoothing) * scores[np.arange(length), answer_ids[row, :length]].sum()
        if smoothing:
            totals[row] += smoothing * scores.mean(axis=-1).sum()
    return totals
