from __future__ import annotations

import numpy as np
import pytest
import torch
from vlp_models.layers.roi_boxes import encode_boxes, pairwise_iou
from vlp_pipeline import detector_boxes


def _boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 50
    return torch.cat([corners, corners + 3 + torch.rand(count, 2, generator=generator) * 40], dim=1)


def test_overlaps_are_those_of_the_host_side() -> None:
    left, right = _boxes(20, 0), _boxes(30, 1)
    left[3] = torch.tensor([5.0, 5, 5, 5])
    expected = detector_boxes.pairwise_iou(left.numpy(), right.numpy())
    assert pairwise_iou(left, right).numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_the_host_side_undoes_the_targets(weights: tuple[float, float, float, float]) -> None:
    boxes, targets = _boxes(40, 2), _boxes(40, 3)
    deltas = encode_boxes(boxes, targets, weights)
    decoded = detector_boxes.decode_boxes(boxes.numpy(), deltas.numpy(), weights)
    assert decoded == pytest.approx(targets.numpy(), abs=1e-3)
    assert np.abs(encode_boxes(boxes, boxes, weights).numpy()).max() < 1e-4
