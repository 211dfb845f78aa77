from __future__ import annotations

import numpy as np
import pytest
from vlp_models.evaluation.grounding import box_iou, grounding_accuracy, is_grounded

UNIT = [0.0, 0.0, 1.0, 1.0]


def test_overlaps_are_those_counted_by_hand() -> None:
    boxes = np.array([UNIT, [0, 0, 0.5, 1], [0.5, 0.5, 1, 1], [0.2, 0.2, 0.2, 0.2]])
    others = np.array([[0, 0, 1, 0.5], [0.25, 0, 0.75, 1], [2, 2, 3, 3]])
    # Shares of the unit square: shared / (one + other - shared).
    expected = [[0.5, 0.5, 0], [0.25 / 0.75, 0.25 / 0.75, 0], [0, 0.125 / 0.625, 0], [0, 0, 0]]
    np.testing.assert_allclose(box_iou(boxes, others), expected)
    np.testing.assert_allclose(box_iou(boxes * 640, others * 640), expected)
    assert box_iou(boxes[:1], boxes[:0]).shape == (1, 0)


def test_overlaps_are_those_counted_on_a_grid() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 20, (12, 4))
    boxes = np.sort(corners.reshape(12, 2, 2), axis=1).reshape(12, 4)
    cells = np.zeros((12, 20, 20), dtype=bool)
    for cell, (x0, y0, x1, y1) in zip(cells, boxes, strict=True):
        cell[y0:y1, x0:x1] = True
    shared = (cells[:, None] & cells[None]).sum(axis=(2, 3))
    union = (cells[:, None] | cells[None]).sum(axis=(2, 3))
    np.testing.assert_allclose(box_iou(boxes, boxes), shared / np.maximum(union, 1))


def test_right_is_an_overlap_above_a_half() -> None:
    predicted = np.array([[0, 0, 1, 0.5], [0, 0, 1, 0.501], UNIT, UNIT])
    truth = np.array([UNIT, UNIT, UNIT, [0.8, 0.8, 1, 1]])
    assert is_grounded(predicted, truth).tolist() == [False, True, True, False]
    assert is_grounded(predicted, truth, 0.03).tolist() == [True, True, True, True]


def test_choices_are_scored_beside_what_was_to_be_had() -> None:
    regions = [
        np.array([UNIT, [0, 0, 1, 0.8], [0, 0, 0.1, 0.1]]),
        np.array([[0, 0, 0.1, 0.1], [0, 0, 1, 0.9]]),
        np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]),
        np.array([[0, 0, 0.2, 0.2]]),
    ]
    truth = np.array([UNIT, UNIT, UNIT, [0, 0, 0.2, 0.25]])
    result = grounding_accuracy(regions, np.array([1, 0, 1, 0]), truth)
    assert result.phrases == 4
    assert result.accuracy == 0.5  # the first and the last
    assert result.ceiling == 0.75  # none of the third's regions is right
    assert result.chance == pytest.approx((2 / 3 + 1 / 2 + 0 + 1) / 4)
    assert result.mean_overlap == pytest.approx((0.8 + 0.01 + 0.25 + 0.8) / 4)


def test_what_does_not_fit_together_is_refused() -> None:
    box = np.array([UNIT])
    with pytest.raises(ValueError, match="expected the same"):
        is_grounded(box, np.array([UNIT, UNIT]))
    with pytest.raises(ValueError, match=r"expected \(N, 4\)"):
        box_iou(box[:, :3], box)
    for regions, chosen, truth in (([], [], box[:0]), ([box], [0, 0], box), ([box], [0], box[:0])):
        with pytest.raises(ValueError, match="lists of regions"):
            grounding_accuracy(regions, np.array(chosen), truth)
    for choice in (1, -1):
        with pytest.raises(ValueError, match="not among those"):
            grounding_accuracy([box], np.array([choice]), box)
