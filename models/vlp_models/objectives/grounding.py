"""Grounding: a word that names something points at its patches, out of all patches, or at none where it is not there.

As in the text-to-region alignment of MDETR (Kamath et al. 2021, arXiv:2104.12763, sec. 2.2.2), with a linear
projection of either side; what is nowhere in the picture is at the picture's own [CLS]. It is read off a layer in the
middle: what a word has found is then there for the layers above, which have to compare places, sizes and numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GroundingHead(nn.Module):
    """Scores of patches for words.

    Args:
        width: of the hidden states, D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words = nn.Linear(width, width)
        self.patches = nn.Linear(width, width)
        self.centres = nn.Linear(width, 2)
        self._width = width

    def forward(self, words: Tensor, patches: Tensor, is_patch: Tensor) -> Tensor:
        """Score.

        Args:
            words: (W, D), each word's hidden state.
            patches: (W, 1 + N, D), those of its picture, [CLS] first.
            is_patch: (W, 1 + N) bool, false where padded.

        Returns:
            (W, 1 + N) float32, minus infinity where padded.
        """
        # The residual stream is not normalised yet in the middle of a pre-norm transformer.
        queries = self.words(F.layer_norm(words, (self._width,)))
        keys = self.patches(F.layer_norm(patches, (self._width,)))
        scores = torch.einsum("wd,wnd->wn", queries, keys).float() * self._width**-0.5
        return scores.masked_fill(~is_patch, float("-inf"))

    def locate(self, words: Tensor) -> Tensor:
        """Where each word's region has its middle: (W, D) to (W, 2) float32, shares of width and height."""
        return self.centres(F.layer_norm(words, (self._width,))).float()


def grounding_loss(scores: Tensor, shares: Tensor, texts: Tensor, batch_size: int) -> Tensor:
    """Mean cross entropy of the words of each text, then mean over all texts of the batch.

    Args:
        scores: (W, 1 + N) float of `GroundingHead`.
        shares: (W, 1 + N) float, each row the target distribution, 0 where padded.
        texts: (W,) int64, the row of each word in the batch.
        batch_size: texts in the batch; one without a word counts as 0.
    """
    log_shares = scores.log_softmax(dim=-1).masked_fill(shares == 0, 0.0)
    per_word = -(log_shares * shares).sum(dim=-1)
    words = torch.bincount(texts, minlength=batch_size)[texts]
    return (per_word / words).sum() / batch_size


def place_loss(found: Tensor, places: Tensor) -> Tensor:
    """Sum of the distances along both sides, over the words whose place is known.

    Args:
        found: (W, 2) float of `GroundingHead.locate`.
        places: (W, 2) float, NaN where unknown.

    Returns:
        () float; the caller divides by the number of coordinates that are known.
    """
    return ((found - places.nan_to_num()).abs() * ~places.isnan()).sum()
