from __future__ import annotations

import numpy as np
import pytest
from vlp_pipeline.detector_anchors import cell_anchors
from vlp_pipeline.detector_proposals import select_proposals
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_spec.errors import InferenceError

ANCHORS = tuple(tuple(row) for row in cell_anchors((32, 64), (1.0,)).tolist())
SETTINGS = DetectorSettings(ANCHORS, pre_nms_top_n=50, post_nms_top_n=5)


def _maps(rows: int = 4, columns: int = 6) -> tuple[np.ndarray, np.ndarray]:
    return np.full((2, rows, columns), -9, np.float32), np.zeros((8, rows, columns), np.float32)


def test_the_best_anchors_come_regressed_and_clipped_the_best_first() -> None:
    objectness, deltas = _maps()
    objectness[0, 2, 3], objectness[1, 0, 0] = 3, 5
    deltas[4:, 0, 0] = (0.5, 0.5, 0, 0)  # second anchor: 64 wide, around (0, 0)
    deltas[:4, 2, 3] = (0, 0, np.log(2), 0)  # first anchor: 32 wide, around (48, 32)
    boxes = select_proposals(objectness, deltas, SETTINGS, width_px=70, height_px=60)
    assert boxes.dtype == np.float32
    assert len(boxes) == 5
    assert boxes[0] == pytest.approx([0, 0, 64, 60])
    assert boxes[1] == pytest.approx([16, 16, 70, 48])


def test_only_so_many_anchors_are_looked_at_and_duplicates_go() -> None:
    objectness, deltas = _maps()
    objectness[0, 1, 1:4] = (4, 6, 5)
    deltas[0, 1, 1:4] = (0.5, 0, -0.5)  # all three on the middle one
    few = DetectorSettings(ANCHORS, pre_nms_top_n=3, post_nms_top_n=3)
    assert select_proposals(objectness, deltas, few, width_px=96, height_px=64).tolist() == [[16, 0, 48, 32]]


def test_where_no_box_is_left_the_whole_picture_is_proposed() -> None:
    objectness, deltas = _maps(1, 1)
    deltas[0::4], deltas[1::4] = 50, 50  # far outside
    boxes = select_proposals(objectness, deltas, SETTINGS, width_px=30, height_px=20)
    assert boxes.tolist() == [[0, 0, 30, 20]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    objectness, deltas = _maps()
    deltas[3, 1, 1] = value
    with pytest.raises(InferenceError, match="not finite"):
        select_proposals(objectness, deltas, SETTINGS, width_px=96, height_px=64)
