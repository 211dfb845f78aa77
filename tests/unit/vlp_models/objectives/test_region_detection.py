from __future__ import annotations

import math

import pytest
import torch
from vlp_models.layers.roi_box_predictor import RoiLogits
from vlp_models.objectives.region_detection import (
    NO_ATTRIBUTE,
    SampledRois,
    TrueRegions,
    region_detection_losses,
    sample_rois,
)

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
NOTHING = TrueRegions(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))


def _true(boxes: list[list[float]], classes: list[int], attributes: list[int]) -> TrueRegions:
    return TrueRegions(torch.tensor(boxes), torch.tensor(classes), torch.tensor(attributes))


def test_proposals_that_half_overlap_something_take_its_class_and_the_others_are_background() -> None:
    proposals = torch.tensor([[0.0, 0, 10, 15], [0, 0, 10, 30], [50, 50, 60, 60]])
    sampled = sample_rois(
        [proposals, proposals[2:]],
        [_true([[0, 0, 10, 10]], [2], [1]), NOTHING],
        num_classes=3,
        rois_per_picture=4,
        box_weights=WEIGHTS,
        generator=torch.Generator().manual_seed(0),
    )
    rows = {tuple(row): index for index, row in enumerate(sampled.rois.tolist())}
    # Half of four show something: the proposal that overlaps by two thirds, and the true box itself.
    front = [rows[(0, 0, 0, 10, 15)], rows[(0, 0, 0, 10, 10)]]
    assert len(rows) == 5
    assert sampled.class_ids[front].tolist() == [2, 2]
    assert sampled.attribute_ids[front].tolist() == [1, 1]
    assert sampled.box_targets[front[1]].tolist() == [0, 0, 0, 0]
    assert sampled.box_targets[front[0]].tolist() == pytest.approx([0, -10 / 6, 0, 5 * math.log(2 / 3)], rel=1e-5)
    back = [index for index in range(5) if index not in front]
    assert sampled.class_ids[back].tolist() == [3, 3, 3]
    assert sampled.attribute_ids[back].tolist() == [NO_ATTRIBUTE] * 3
    assert rows[(1, 50, 50, 60, 60)] in back


def _sampled(classes: list[int], attributes: list[int], targets: list[list[float]]) -> SampledRois:
    return SampledRois(
        torch.zeros(len(classes), 5), torch.tensor(classes), torch.tensor(attributes), torch.tensor(targets)
    )


def test_the_losses_by_hand() -> None:
    logits = RoiLogits(
        class_logits=torch.tensor([[1.0, 0, 0], [0, 0, 2.0], [0, 3.0, 0]]),
        attribute_logits=torch.tensor([[1.0, 0], [5, 5], [7, 7]]),
        box_deltas=torch.tensor([[0.5, 0, 3, 0, 9, 9, 9, 9], [1] * 8, [8, 8, 8, 8, 0, 0, 0, 1]], dtype=torch.float32),
    )
    # Classes 0, background (2) and 1; only the first has a known attribute.
    sampled = _sampled([0, 2, 1], [0, NO_ATTRIBUTE, NO_ATTRIBUTE], [[0.0] * 4, [0] * 4, [0] * 4])
    losses = region_detection_losses(logits, sampled, num_classes=2)
    picked = [math.exp(1) / (math.exp(1) + 2), math.exp(2) / (math.exp(2) + 2), math.exp(3) / (math.exp(3) + 2)]
    assert losses.classes.item() == pytest.approx(-sum(map(math.log, picked)) / 3, rel=1e-5)
    # Each class has deltas of its own: 0.125 + 2.5 for the first, 0.5 for the third.
    assert losses.boxes.item() == pytest.approx((0.125 + 2.5 + 0.5) / 3, rel=1e-5)
    assert losses.attributes.item() == pytest.approx(0.5 * math.log1p(math.exp(-1)), rel=1e-5)


def test_shared_box_deltas_serve_every_class() -> None:
    logits = RoiLogits(torch.zeros(2, 3), torch.zeros(2, 2), torch.tensor([[2.0, 0, 0, 0], [0, 0, 0, 0.5]]))
    losses = region_detection_losses(logits, _sampled([1, 0], [0, 1], [[0.0] * 4, [0] * 4]), num_classes=2)
    assert losses.boxes.item() == pytest.approx((1.5 + 0.125) / 2)


def test_background_alone_gives_finite_gradients() -> None:
    tensors = [torch.zeros(2, width, requires_grad=True) for width in (3, 2, 4)]
    sampled = _sampled([2, 2], [NO_ATTRIBUTE] * 2, [[0.0] * 4] * 2)
    losses = region_detection_losses(RoiLogits(*tensors), sampled, num_classes=2)
    torch.stack(list(losses)).sum().backward()
    assert losses.boxes.item() == losses.attributes.item() == 0
    assert all(torch.isfinite(value.grad).all() for value in tensors)
