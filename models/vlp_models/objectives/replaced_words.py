"""Replaced words: tell which words of a false caption are the false ones.

A caption with one attribute changed fits the picture in all words but one; one yes or no for the whole caption teaches
slowly where to look. Replaced token detection (Clark et al. 2020, arXiv:2003.10555, sec. 2), with the picture as what
the words must agree with.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

UNKNOWN = -1


def replaced_words_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross entropy over the words whose truth is known, each text counting the same.

    Args:
        logits: (B, T) float, above 0 = false.
        labels: (B, T) int, 1 = false, 0 = true, `UNKNOWN` where nobody knows, or padding.

    Returns:
        a scalar: the mean over texts; a text without a known word counts as 0.
    """
    known = labels != UNKNOWN
    losses = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0).to(logits.dtype), reduction="none")
    per_text = (losses * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)
    return per_text.mean()
