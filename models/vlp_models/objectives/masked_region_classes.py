"""Masked region classes: predict what the detector called the regions that were hidden, by its best class or by all."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def masked_region_class_loss(logits: Tensor, probabilities: Tensor) -> Tensor:
    """Mean cross entropy with the detector's best class; 0, with a gradient of 0, where no region is masked.

    Args:
        logits: (M, C) of `UniterModel.classify_regions`, the masked regions alone; index 0 = background.
        probabilities: (M, C) float, the detector's. Its background is never the best class: what it boxed is something.

    Returns:
        a scalar.

    Source: Chen et al. 2020 (arXiv:1909.11740), sec. 3.2 (MRC); the background's part of ChenRocks/UNITER.
    """
    best = probabilities[:, 1:].argmax(dim=1) + 1
    return F.cross_entropy(logits, best, reduction="sum") / max(1, logits.shape[0])


def masked_region_distribution_loss(logits: Tensor, probabilities: Tensor) -> Tensor:
    """Divergence of the predicted distribution from the detector's, KL(detector || model), as a mean over all M * C
    terms; 0, with a gradient of 0, where no region is masked.

    Args:
        logits: (M, C) as in `masked_region_class_loss`.
        probabilities: (M, C) float, each row a distribution, background included.

    Returns:
        a scalar; times C, the mean divergence of a region.

    Source: Chen et al. 2020 (arXiv:1909.11740), sec. 3.2 (MRC-kl); the mean is that of ChenRocks/UNITER.
    """
    log_predicted = logits.log_softmax(dim=1)
    total = F.kl_div(log_predicted, probabilities.to(log_predicted.dtype), reduction="sum")
    return total / max(1, logits.numel())
