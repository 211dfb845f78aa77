"""Image-text contrastive learning: each picture finds its text among those of the batch, and each text its picture."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MAX_LOG_SCALE = math.log(100.0)


def contrastive_loss(similarities: Tensor, targets: Tensor, excluded: Tensor | None = None) -> Tensor:
    """InfoNCE in one direction: mean cross entropy of the right key among all keys.

    Args:
        similarities: (B, G) float, cosine times the learned scale.
        targets: (B,) int64, the column of each row's own key.
        excluded: (B, G) bool, true = neither right nor wrong, left out of the sum; a row's own key always counts.

    Returns:
        a scalar. The published loss is the mean of both directions.

    Source: Radford et al. 2021 (arXiv:2103.00020), sec. 2.3 and figure 3; differs: `excluded`.
    """
    return F.cross_entropy(mask_excluded(similarities, targets, excluded), targets)


def mask_excluded(similarities: Tensor, targets: Tensor, excluded: Tensor | None) -> Tensor:
    """`similarities` with -inf where excluded, each row's own key kept."""
    if excluded is None:
        return similarities
    own = F.one_hot(targets, similarities.shape[1]).to(torch.bool)
    return similarities.masked_fill(excluded & ~own, -math.inf)


def equal_groups(rows: Tensor, columns: Tensor) -> Tensor:
    """(B,) and (G,) int64 group numbers to (B, G) bool: true where the groups are the same."""
    return rows[:, None] == columns[None, :]


@torch.no_grad()
def clamp_scale(log_scale: nn.Parameter) -> None:
    """Keep the scale at 100 at most, after every step, as CLIP does: it would else grow until training breaks."""
    log_scale.clamp_(max=MAX_LOG_SCALE)
