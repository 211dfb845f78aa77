"""Masked language modelling: predict the words that were hidden."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

IGNORED_LABEL = -100


def masked_language_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy over the masked tokens; 0, with a gradient of 0, where none is masked.

    Args:
        logits: (B, T, vocabulary).
        labels: (B, T) int64, the hidden word's id; `IGNORED_LABEL` elsewhere.

    Returns:
        a scalar.

    Source: Devlin et al. 2019 (arXiv:1810.04805), sec. 3.1; Kim et al. 2021 (arXiv:2102.03334), sec. 3.2.
    """
    total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED_LABEL, reduction="sum")
    return total / (labels != IGNORED_LABEL).sum().clamp(min=1)
