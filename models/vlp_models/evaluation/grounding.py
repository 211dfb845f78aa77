"""Grounding: whether the box found for a phrase is the right one.

Source of the rule: ChenRocks/UNITER @1dbfa62, inf_re.py: right is an overlap (intersection over union) above 0.5. There
boxes are whole pixels and count their last one; here they are shares of the picture and continuous.
"""

from __future__ import annotations

import numpy as np
from vlp_pipeline.detector_boxes import pairwise_iou

MIN_OVERLAP = 0.5


def box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair.

    Args:
        boxes: (N, 4), x0, y0, x1, y1 in any unit.
        others: (M, 4), in the same unit.

    Returns:
        (N, M) float64, 0 to 1; 0 where both are empty.

    Raises:
        ValueError: another shape.
    """
    return pairwise_iou(_boxes(boxes), _boxes(others))


def is_grounded(predicted: np.ndarray, truth: np.ndarray, min_overlap: float = MIN_OVERLAP) -> np.ndarray:
    """(N,) bool: whether box i of `predicted` (N, 4) overlaps with box i of `truth` (N, 4) by more than a share."""
    return _paired_iou(predicted, truth) > min_overlap


def _paired_iou(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if predicted.shape != truth.shape:
        raise ValueError(f"shapes {predicted.shape} and {truth.shape}, expected the same")
    pairs = [box_iou(one[None], other[None])[0, 0] for one, other in zip(_boxes(predicted), _boxes(truth), strict=True)]
    return np.array(pairs, dtype=np.float64)


def _boxes(boxes: np.ndarray) -> np.ndarray:
    array = np.asarray(boxes, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes of shape {array.shape}, expected (N, 4)")
    return array
