from __future__ import annotations

import numpy as np
import pytest
from vlp_pipeline.detector_anchors import cell_anchors, grid_anchors


def test_anchors_have_the_area_of_their_size_and_the_ratio_of_height_to_width() -> None:
    cells = cell_anchors((64, 128), (0.5, 1.0, 2.0))
    width, height = cells[:, 2] - cells[:, 0], cells[:, 3] - cells[:, 1]
    assert (width * height) == pytest.approx([4096] * 3 + [16384] * 3, rel=1e-5)
    assert (height / width) == pytest.approx([0.5, 1, 2] * 2, rel=1e-5)
    assert (cells[:, :2] + cells[:, 2:]) == pytest.approx(np.zeros((6, 2)), abs=1e-5)
    # A well known row of Detectron2's: size 64, ratio 0.5.
    assert cells[0] == pytest.approx([-45.2548, -22.6274, 45.2548, 22.6274], abs=1e-4)


def test_the_grid_goes_row_by_row_cell_by_cell_anchor_by_anchor() -> None:
    cells = np.array([[-1, -2, 1, 2], [-3, -3, 3, 3]], np.float32)
    grid = grid_anchors(cells, rows=2, columns=3, stride_px=16)
    assert grid.shape == (12, 4)
    assert grid.dtype == np.float32
    assert grid[3].tolist() == [13, -3, 19, 3]  # row 0, column 1, second anchor
    assert grid[10].tolist() == [31, 14, 33, 18]  # row 1, column 2, first anchor
