"""Image-text matching: tell whether a text belongs to a picture."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def image_text_matching_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy.

    Args:
        logits: (B, 2); index 1 = match.
        labels: (B,) of any number type, 1 = match, 0 = the picture was exchanged.

    Returns:
        a scalar.

    Source: Kim et al. 2021 (arXiv:2102.03334), sec. 3.2.
    """
    return F.cross_entropy(logits, labels.long())
