"""Image-text retrieval: rank the true text above false ones for the same picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def image_text_retrieval_loss(scores: Tensor) -> Tensor:
    """Mean cross entropy over the texts of each picture.

    Args:
        scores: (B, 1 + false texts); column 0 is the true text. The published training takes 15 false ones.

    Returns:
        a scalar.

    Source: Kim et al. 2021 (arXiv:2102.03334), sec. 4.4.
    """
    return F.cross_entropy(scores, torch.zeros(scores.shape[0], dtype=torch.long, device=scores.device))
