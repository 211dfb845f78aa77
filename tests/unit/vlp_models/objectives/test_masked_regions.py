from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from vlp_models.objectives.masked_region_classes import masked_region_class_loss, masked_region_distribution_loss
from vlp_models.objectives.masked_region_features import masked_region_features_loss

LOGITS = torch.tensor([[0.3, -1.0, 2.0, 0.5], [1.5, 0.0, -0.5, 0.25]])
PROBABILITIES = torch.tensor([[0.7, 0.2, 0.1, 0.0], [0.1, 0.1, 0.2, 0.6]])


def _log_softmax(rows: np.ndarray) -> np.ndarray:
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def test_the_background_is_never_the_class_of_a_region() -> None:
    logs = _log_softmax(LOGITS.double().numpy())
    # The first region's most likely class is the background; the next one counts.
    expected = -(logs[0, 1] + logs[1, 3]) / 2
    assert masked_region_class_loss(LOGITS, PROBABILITIES).item() == pytest.approx(expected, abs=1e-6)


def test_the_divergence_is_a_mean_over_regions_and_classes() -> None:
    logs, target = _log_softmax(LOGITS.double().numpy()), PROBABILITIES.double().numpy()
    terms = [
        share * (math.log(share) - log)
        for share, log in zip(target.ravel(), logs.ravel(), strict=True)
        if share > 0  # 0 * log 0 is 0
    ]
    got = masked_region_distribution_loss(LOGITS, PROBABILITIES).item()
    assert got == pytest.approx(sum(terms) / 8, abs=1e-7)
    assert masked_region_distribution_loss(LOGITS, LOGITS.softmax(dim=1)).item() == pytest.approx(0, abs=1e-7)


def test_features_are_compared_number_by_number() -> None:
    predicted, features = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]), torch.zeros(2, 3)
    assert masked_region_features_loss(predicted, features).item() == pytest.approx((1 + 4 + 9 + 1) / 6)


def test_a_batch_without_masked_regions_costs_nothing() -> None:
    for loss in (masked_region_features_loss, masked_region_class_loss, masked_region_distribution_loss):
        states = torch.randn(2, 4, requires_grad=True)
        value = loss(states[:0], torch.zeros(0, 4))
        value.backward()
        assert value.item() == 0
        assert states.grad is not None
        assert not states.grad.any()
