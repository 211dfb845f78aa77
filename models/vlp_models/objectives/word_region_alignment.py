"""UNITER's word-region alignment: true pairs should be cheap to transport, exchanged ones expensive."""

from __future__ import annotations

from torch import Tensor

from vlp_models.objectives.optimal_transport import Transport, transport
from vlp_models.objectives.word_patch_alignment import word_patch_alignment_loss


def align_words_to_regions(
    text_feats: Tensor,
    text_mask: Tensor,
    region_feats: Tensor,
    region_mask: Tensor,
    *,
    beta: float = 0.5,
    iterations: int = 50,
) -> Transport:
    """Transport a text to the regions of its picture on final features.

    All tokens take part, [CLS] and [SEP] too, unlike in ViLT's word-patch alignment; only padding does not.

    Args:
        text_feats: (B, T, D).
        text_mask: (B, T) int or bool, true = a token.
        region_feats: (B, R, D).
        region_mask: (B, R) int or bool, true = a region.
        beta: step of the proximal point method.
        iterations: its outer steps.
    """
    return transport(text_feats, text_mask.bool(), region_feats, region_mask.bool(), beta=beta, iterations=iterations)


def word_region_alignment_loss(distance: Tensor, labels: Tensor, weight: float = 0.1) -> Tensor:
    """Weight * (sum of the true pairs' distances - sum of the others') / B; added to the matching loss.

    Args:
        distance: (B,) of `align_words_to_regions`.
        labels: (B,), 1 = true pair, 0 = exchanged text or picture.
        weight: 0.1 in the published training.

    Returns:
        a scalar, float32.

    Source: Chen et al. 2020 (arXiv:1909.11740), sec. 3.2 (WRA); the negative pairs' part and the weight are those of
    ChenRocks/UNITER.
    """
    return word_patch_alignment_loss(distance, labels, weight)
