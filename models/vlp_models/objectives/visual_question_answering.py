"""Visual question answering as classification with soft targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_SCORES = (0.0, 0.3, 0.6, 0.9)


def answer_score(count: int) -> float:
    """Soft score of an answer that `count` of ten annotators gave: 0, 0.3, 0.6, 0.9, then 1."""
    return _SCORES[count] if count < len(_SCORES) else 1.0


def soft_targets(answers: Sequence[Mapping[int, float]], num_labels: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Build targets from each question's scored answers.

    Args:
        answers: one {label index: score in [0, 1]} a question; `answer_score` gives scores from counts.
        num_labels: width L of the answer list.
        dtype: of the result.

    Returns:
        (B, L).
    """
    targets = torch.zeros(len(answers), num_labels, dtype=dtype)
    for row, scores in enumerate(answers):
        for label, score in scores.items():
            targets[row, label] = score
    return targets


def answer_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy of every answer, averaged over the batch and summed over the answers.

    Args:
        logits: (B, L).
        targets: (B, L) in [0, 1].

    Returns:
        a scalar: mean over all entries, times L.

    Source: Anderson et al. 2018 (arXiv:1707.07998), sec. 3.3, as in dandelin/ViLT.
    """
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype)) * targets.shape[1]
