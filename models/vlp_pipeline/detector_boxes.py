"""Geometry of detected boxes in numpy: overlap, regression, clipping, suppression of duplicates.

Boxes are (..., 4) float32: x0, y0, x1, y1 in pixels, continuous (see `detector_anchors`).
"""

from __future__ import annotations

import math

import numpy as np

# A regressed side is at most 1000/16 times the anchor's: exp() of an untrained head stays finite.
MAX_LOG_GROWTH = math.log(1000.0 / 16)


def areas(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) to (N,)."""
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def pairwise_iou(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair: (N, 4) and (M, 4) to (N, M) float32; 0 where both are empty."""
    top_left = np.maximum(left[:, None, :2], right[None, :, :2])
    bottom_right = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    union = areas(left)[:, None] + areas(right)[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def decode_boxes(
    boxes: np.ndarray, deltas: np.ndarray, weights: tuple[float, float, float, float] = (1, 1, 1, 1)
) -> np.ndarray:
    """Move and scale boxes as a regression head says.

    Args:
        boxes: (N, 4).
        deltas: (N, 4): shift of the middle in widths and heights, then logarithms of the growth of both sides.
        weights: what the deltas are multiples of.

    Returns:
        (N, 4) float32.

    Source: Girshick et al. 2014 (arXiv:1311.2524), appendix C; the bound on growth is Detectron2's.
    """
    sizes = boxes[:, 2:] - boxes[:, :2]
    middles = boxes[:, :2] + 0.5 * sizes
    scaled = deltas / np.array(weights, dtype=np.float32)
    middles = middles + scaled[:, :2] * sizes
    sizes = sizes * np.exp(np.minimum(scaled[:, 2:], np.float32(MAX_LOG_GROWTH)))
    decoded = np.concatenate([middles - 0.5 * sizes, middles + 0.5 * sizes], axis=1)
    return np.asarray(decoded, dtype=np.float32)


def clip_boxes(boxes: np.ndarray, width_px: float, height_px: float) -> np.ndarray:
    """Cut boxes off at the edges of a picture: (N, 4) to (N, 4)."""
    limits = np.array([width_px, height_px, width_px, height_px], dtype=np.float32)
    return np.asarray(np.clip(boxes, 0, limits))


def suppress_duplicates(boxes: np.ndarray, scores: np.ndarray, max_iou: float, max_kept: int) -> np.ndarray:
    """Greedy non-maximum suppression: take the best box, drop those that overlap it more, and so on.

    Args:
        boxes: (N, 4).
        scores: (N,); of equal ones the first counts as better.
        max_iou: overlap with a kept box above which a box is dropped.
        max_kept: the search ends there.

    Returns:
        (K,) int64, indices of the kept boxes, the best first.
    """
    order = np.argsort(-scores, kind="stable")
    left, area = boxes[order], areas(boxes)[order]
    kept: list[int] = []
    while len(order) and len(kept) < max_kept:
        kept.append(int(order[0]))
        best = left[0]
        sides = np.minimum(left[1:, 2:], best[2:]) - np.maximum(left[1:, :2], best[:2])
        shared = np.maximum(sides[:, 0], 0) * np.maximum(sides[:, 1], 0)
        # Compared without the quotient: two empty boxes overlap by nothing.
        stays = shared <= max_iou * (area[0] + area[1:] - shared)
        order, left, area = order[1:][stays], left[1:][stays], area[1:][stays]
    return np.array(kept, dtype=np.int64)


def suppress_duplicates_by_class(
    overlaps: np.ndarray, scores: np.ndarray, max_iou: float, min_score: float
) -> np.ndarray:
    """Non-maximum suppression for every class apart, over the same boxes, all classes at once.

    Args:
        overlaps: (N, N), IoU of every pair of boxes.
        scores: (N, C), each box's score in each class.
        max_iou: as in `suppress_duplicates`.
        min_score: lower scores are left out, which changes nothing for the others: a box is only ever dropped for a
            better one.

    Returns:
        (N, C): the score where the box survives in the class, 0 elsewhere.
    """
    of_class = scores.transpose()
    remaining = of_class >= min_score
    classes = np.flatnonzero(remaining.any(axis=1))
    survivors = np.zeros_like(scores)
    if not len(classes):
        return survivors
    remaining, of_class = remaining[classes], of_class[classes]
    drops = overlaps > max_iou
    np.fill_diagonal(drops, False)
    order = np.argsort(-of_class, axis=1, kind="stable")
    for rank in range(int(remaining.sum(axis=1).max())):
        # Scores fall along a row, so those that count come first.
        boxes = order[:, rank]
        rows = np.flatnonzero(remaining[np.arange(len(classes)), boxes])
        remaining[rows] &= ~drops[boxes[rows]]
    survivors[:, classes] = np.where(remaining, of_class, 0).T
    return survivors
