"""Region words: the patch in the middle of a region predicts the words for it.

Object labels as supervision of what a single-stream model sees, as in the detected-label classification of LXMERT
(Tan & Bansal 2019, arXiv:1908.07490, sec. 3.2), but through the word decoder of masked language modelling: the patch
says a word of the vocabulary, so that words and patches come to mean the same.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def region_words_loss(logits: Tensor, words: Tensor) -> Tensor:
    """Sum over all words of all regions of -log p(word).

    Args:
        logits: (R, vocabulary) float, of the patch of each region.
        words: (W, 2) int64, the row in `logits` and the word's id.

    Returns:
        () float; the caller divides by its number of words.
    """
    return F.cross_entropy(logits[words[:, 0]], words[:, 1], reduction="sum")
