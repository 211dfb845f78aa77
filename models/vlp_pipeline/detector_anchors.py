"""Anchors of a region detector: boxes of fixed shapes around every cell of its feature map.

Boxes are x0, y0, x1, y1 in pixels, continuous: a box from 0 to 16 is 16 wide. Caffe counts pixels instead (17 wide);
the published torch weights are used with the continuous form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def cell_anchors(sizes_px: Sequence[float], ratios: Sequence[float]) -> np.ndarray:
    """Anchors around the origin.

    Args:
        sizes_px: square roots of the areas.
        ratios: height over width.

    Returns:
        (sizes * ratios, 4) float32; all ratios of the first size, then those of the next.

    Source: Ren et al. 2015 (arXiv:1506.01497), sec. 3.1.1; order and form of Detectron2.
    """
    anchors = []
    for size in sizes_px:
        for ratio in ratios:
            half_width = size / math.sqrt(ratio) / 2
            half_height = half_width * ratio
            anchors.append((-half_width, -half_height, half_width, half_height))
    return np.array(anchors, dtype=np.float32)


def grid_anchors(cells: np.ndarray, rows: int, columns: int, stride_px: int) -> np.ndarray:
    """Anchors around the top-left corner of every cell of a feature map.

    Args:
        cells: (A, 4) float32 of `cell_anchors`.
        rows: of the map.
        columns: of the map.
        stride_px: pixels from a cell to the next.

    Returns:
        (rows * columns * A, 4) float32: row by row, in a row cell by cell, in a cell anchor by anchor.
    """
    y, x = np.meshgrid(
        np.arange(rows, dtype=np.float32) * stride_px, np.arange(columns, dtype=np.float32) * stride_px, indexing="ij"
    )
    corners = np.stack([x, y, x, y], axis=-1)
    return np.asarray(corners[:, :, None, :] + cells).reshape(-1, 4)
