"""Visual commonsense reasoning (VCR): tell the right answer, or the right rationale, from wrong ones."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def visual_commonsense_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy; each of a question's four choices is a row of its own.

    Args:
        logits: (B, 2) of `UniterModel.vcr_logits`; index 1 = right.
        labels: (B,) of any number type, 1 = the right choice.

    Returns:
        a scalar.

    Source: Zellers et al. 2019 (arXiv:1811.10830); binary for each choice as in ChenRocks/UNITER.
    """
    return F.cross_entropy(logits, labels.long())
