"""Referring expressions: find the region that a phrase speaks of."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def referring_expression_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy over the regions of each picture.

    Args:
        scores: (B, R) of `UniterModel.grounding_scores`, minus infinity where padded.
        targets: (B,) int64, the right region, never a padded one.

    Returns:
        a scalar.

    Source: Chen et al. 2020 (arXiv:1909.11740), sec. 4.
    """
    return F.cross_entropy(scores, targets)
