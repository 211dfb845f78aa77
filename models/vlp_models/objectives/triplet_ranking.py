"""Ranking of true pairs above exchanged ones by a margin."""

from __future__ import annotations

from torch import Tensor


def triplet_ranking_loss(scores: Tensor, margin: float = 0.2) -> Tensor:
    """Mean over all exchanged pairs of max(0, margin + sigmoid(exchanged) - sigmoid(true)).

    Args:
        scores: (B, 1 + exchanged) raw scores; column 0 is the true pair, the others have its text or its picture
            exchanged. The published training has one of either kind or more.
        margin: 0.2 in the published training.

    Returns:
        a scalar.

    Source: ChenRocks/UNITER (fine-tuning for image-text retrieval); Chen et al. 2020 (arXiv:1909.11740), sec. 4.
    """
    scores = scores.sigmoid()
    return (margin + scores[:, 1:] - scores[:, :1]).clamp(min=0).mean()
