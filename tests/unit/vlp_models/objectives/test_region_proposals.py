from __future__ import annotations

import math

import pytest
import torch
from vlp_models.objectives.region_proposals import match_anchors, region_proposal_losses, sample_labels

ANCHORS = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 14], [0, 0, 10, 20], [40, 40, 50, 50], [100, 0, 110, 10]])


def test_anchors_are_positive_from_seven_tenths_on_negative_below_three_and_else_ignored() -> None:
    labels, matches = match_anchors(ANCHORS, torch.tensor([[0.0, 0, 10, 10], [40, 40, 70, 70]]))
    # Overlaps with the first box: 1, 10/14, 1/2, 0, 0. The second box has but one anchor, by 1/9: its best.
    assert labels.tolist() == [1, 1, -1, 1, 0]
    assert matches[:4].tolist() == [0, 0, 0, 1]


def test_a_box_that_no_anchor_touches_makes_none_positive() -> None:
    labels, _ = match_anchors(ANCHORS, torch.tensor([[200.0, 200, 210, 210]]))
    assert labels.tolist() == [0] * 5
    assert match_anchors(ANCHORS, torch.zeros(0, 4))[0].tolist() == [0] * 5


def test_negatives_fill_up_what_positives_lack() -> None:
    labels = torch.tensor([1, 0, -1, 0, 2, 0, 0, 0, 3, -1, 0])
    positives, negatives = sample_labels(labels, 4, 0.5, torch.Generator().manual_seed(0))
    assert len(positives) == 2
    assert set(positives.tolist()) <= {0, 4, 8}
    assert len(negatives) == 2
    positives, negatives = sample_labels(labels, 8, 0.9, torch.Generator().manual_seed(0))
    assert sorted(positives.tolist()) == [0, 4, 8]
    assert len(negatives) == 5
    assert (labels[negatives] == 0).all()


def test_the_losses_are_sums_over_sampled_anchors_divided_by_their_number() -> None:
    # One row of two cells with one anchor each, two pictures; the second picture is empty.
    anchors = torch.tensor([[0.0, 0, 16, 16], [16, 0, 32, 16]])
    objectness = torch.tensor([[[[2.0, -1.0]]], [[[0.5, 3.0]]]])
    deltas = torch.zeros(2, 4, 1, 2)
    deltas[0, :, 0, 0] = torch.tensor([0.5, 0.0, 0.05, 0.0])
    losses = region_proposal_losses(
        objectness,
        deltas,
        anchors,
        [torch.tensor([[0.0, 0, 16, 16]]), torch.zeros(0, 4)],
        anchors_per_picture=2,
        generator=torch.Generator().manual_seed(0),
    )

    def softplus(value: float) -> float:
        return math.log1p(math.exp(value))

    expected = (softplus(-2) + softplus(-1) + softplus(0.5) + softplus(3)) / 4
    assert losses.objectness.item() == pytest.approx(expected, rel=1e-5)
    # Smooth L1 with beta 1/9: linear beyond it, a parabola below.
    assert losses.boxes.item() == pytest.approx((0.5 - 1 / 18 + 0.5 * 0.05**2 * 9) / 4, rel=1e-5)


def test_anchors_follow_the_maps_order_of_cells() -> None:
    objectness = torch.zeros(1, 2, 2, 3)
    objectness[0, 1, 1, 2] = 9.0  # last cell, second anchor
    anchors = torch.zeros(12, 4)
    anchors[:, 2:] = 1
    anchors[11] = torch.tensor([50.0, 50, 60, 60])
    losses = region_proposal_losses(
        objectness,
        torch.zeros(1, 8, 2, 3, requires_grad=True),
        anchors,
        [torch.tensor([[50.0, 50, 60, 60]])],
        anchors_per_picture=2,
        generator=torch.Generator().manual_seed(0),
    )
    assert losses.objectness.item() == pytest.approx(math.log(2) / 2, abs=1e-3)


def test_pictures_without_anything_give_finite_gradients() -> None:
    objectness, deltas = torch.zeros(1, 1, 1, 2, requires_grad=True), torch.zeros(1, 4, 1, 2, requires_grad=True)
    anchors = torch.tensor([[0.0, 0, 16, 16], [16, 0, 32, 16]])
    losses = region_proposal_losses(
        objectness, deltas, anchors, [torch.zeros(0, 4)], anchors_per_picture=2, generator=torch.Generator()
    )
    (losses.objectness + losses.boxes).backward()
    assert losses.boxes.item() == 0
    assert torch.isfinite(objectness.grad).all()
