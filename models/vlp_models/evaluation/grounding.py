"""Grounding: how often the box found for a phrase is the right one.

Source of the rule: ChenRocks/UNITER @1dbfa62, inf_re.py: right is an overlap (intersection over union) above 0.5. There
boxes are whole pixels and count their last one; here they are shares of the picture and continuous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from vlp_pipeline.detector_boxes import pairwise_iou

MIN_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class GroundingAccuracy:
    """A split's result.

    Attributes:
        phrases: how many were asked for.
        accuracy: share of them whose box was found, 0 to 1.
        ceiling: share of them for which any of the regions to choose among would have been right.
        chance: mean share of a phrase's regions that are right: what drawing one at random reaches.
        mean_overlap: of the boxes found with the right ones, 0 to 1.
    """

    phrases: int
    accuracy: float
    ceiling: float
    chance: float
    mean_overlap: float


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


def grounding_accuracy(
    regions: Sequence[np.ndarray], chosen: np.ndarray, truth: np.ndarray, min_overlap: float = MIN_OVERLAP
) -> GroundingAccuracy:
    """Score the choice of a region for each phrase.

    Args:
        regions: a phrase -> (R, 4), the boxes to choose among.
        chosen: (phrases,) int, the region chosen for each.
        truth: (phrases, 4), the right boxes.
        min_overlap: what the overlap must exceed.

    Raises:
        ValueError: no phrase, lengths that differ, or a choice that is none of a phrase's regions.
    """
    if not len(regions) == len(chosen) == len(truth) > 0:
        raise ValueError(f"{len(regions)} lists of regions, {len(chosen)} choices and {len(truth)} right boxes")
    if not all(0 <= choice < len(own) for own, choice in zip(regions, chosen, strict=True)):
        raise ValueError("a chosen region that is not among those of its phrase")
    overlaps = [box_iou(own, right[None])[:, 0] for own, right in zip(regions, truth, strict=True)]
    found = np.array([own[choice] for own, choice in zip(overlaps, chosen, strict=True)])
    return GroundingAccuracy(
        phrases=len(regions),
        accuracy=float(np.mean(found > min_overlap)),
        ceiling=float(np.mean([(own > min_overlap).any() for own in overlaps])),
        chance=float(np.mean([(own > min_overlap).mean() for own in overlaps])),
        mean_overlap=float(found.mean()),
    )


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
