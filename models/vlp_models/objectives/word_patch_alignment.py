"""ViLT's word-patch alignment: true pairs should be cheap to transport, exchanged ones expensive."""

from __future__ import annotations

import torch
from torch import Tensor

from vlp_models.objectives.optimal_transport import Transport, transport


def word_mask(text_mask: Tensor) -> Tensor:
    """Leave [CLS] and [SEP] out of a text: (B, T) int or bool, true first, to (B, T) bool."""
    index = torch.arange(text_mask.shape[1], device=text_mask.device)
    last = text_mask.bool().sum(dim=1, keepdim=True) - 1
    return (index > 0) & (index < last)


def patch_mask(image_mask: Tensor) -> Tensor:
    """Leave the image CLS out: (B, 1 + N) bool to (B, 1 + N) bool."""
    mask = image_mask.bool().clone()
    mask[:, 0] = False
    return mask


def align_words_to_patches(
    text_feats: Tensor,
    text_mask: Tensor,
    image_feats: Tensor,
    image_mask: Tensor,
    *,
    beta: float = 0.5,
    iterations: int = 50,
) -> Transport:
    """Transport words to patches on final features, special positions left out.

    beta=0.1 with 1000 iterations gives the plan that the published demonstration draws as a heat map.

    Args:
        text_feats: (B, T, D).
        text_mask: (B, T) int or bool, [CLS] words [SEP], then padding.
        image_feats: (B, 1 + N, D).
        image_mask: (B, 1 + N) bool, the image CLS first.
        beta: step of the proximal point method.
        iterations: its outer steps.
    """
    return transport(
        text_feats, word_mask(text_mask), image_feats, patch_mask(image_mask), beta=beta, iterations=iterations
    )


def word_patch_alignment_loss(distance: Tensor, labels: Tensor, weight: float = 0.1) -> Tensor:
    """Weight * (sum of the true pairs' distances - sum of the others') / B.

    Args:
        distance: (B,) of `align_words_to_patches`.
        labels: (B,), 1 = true pair, 0 = exchanged picture.
        weight: 0.1 in the published training.

    Returns:
        a scalar, float32.

    Source: Kim et al. 2021 (arXiv:2102.03334), sec. 3.2.
    """
    signs = torch.where(labels.bool(), 1.0, -1.0).to(distance.dtype)
    return weight * (signs * distance).sum() / distance.shape[0]
