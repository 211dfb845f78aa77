from __future__ import annotations

import numpy as np
import pytest
from vlp_models.evaluation.grounding import box_iou, is_grounded

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


def test_what_does_not_fit_together_is_refused() -> None:
    box = np.array([UNIT])
    with pytest.raises(ValueError, match="expected the same"):
        is_grounded(box, np.array([UNIT, UNIT]))
    with pytest.raises(ValueError, match=r"expected \(N, 4\)"):
        box_iou(box[:, :3], box)
