"""Masked region features: predict what the detector saw in the regions that were hidden."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def masked_region_features_loss(predicted: Tensor, features: Tensor) -> Tensor:
    """Mean squared error over all numbers of the masked regions; 0, with a gradient of 0, where none is masked.

    Args:
        predicted: (M, F) of `UniterModel.regress_features`, the masked regions alone.
        features: (M, F) float, what was hidden.

    Returns:
        a scalar.

    Source: Chen et al. 2020 (arXiv:1909.11740), sec. 3.2 (MRFR), which sums over a region's numbers; the mean over
    them is what ChenRocks/UNITER trains with.
    """
    total = F.mse_loss(predicted, features.to(predicted.dtype), reduction="sum")
    return total / max(1, predicted.numel())
