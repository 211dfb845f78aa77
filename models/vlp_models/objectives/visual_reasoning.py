"""NLVR2: decide whether a statement about two pictures is true."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def visual_reasoning_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy.

    Args:
        logits: (B, 2); index 1 = true.
        labels: (B,) of any number type, 1 = the statement is true.

    Returns:
        a scalar.

    Source: Suhr et al. 2019 (arXiv:1811.00491); Kim et al. 2021 (arXiv:2102.03334), sec. 4.3.
    """
    return F.cross_entropy(logits, labels.long())
