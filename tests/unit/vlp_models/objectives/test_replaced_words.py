from __future__ import annotations

import math

import pytest
import torch
from vlp_models.objectives.replaced_words import replaced_words_loss


def test_each_text_counts_the_same_and_unknown_words_not() -> None:
    logits = torch.tensor([[0.0, 2.0, 9.0], [1.0, -1.0, 3.0], [5.0, 5.0, 5.0]])
    labels = torch.tensor([[0, 1, -1], [0, 0, 1], [-1, -1, -1]])

    def fault(logit: float, label: int) -> float:
        return math.log1p(math.exp(-logit if label else logit))

    first = (fault(0, 0) + fault(2, 1)) / 2
    second = (fault(1, 0) + fault(-1, 0) + fault(3, 1)) / 3
    assert replaced_words_loss(logits, labels).item() == pytest.approx((first + second) / 3)
