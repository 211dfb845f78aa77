"""How much of what is in pictures a region detector finds, and whether it knows what it found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from vlp_pipeline.detector_boxes import pairwise_iou
from vlp_pipeline.images import decode_image
from vlp_spec.errors import ArtifactError

from vlp_models.data.detector_pictures import NO_ATTRIBUTE, DetectorExample
from vlp_models.evaluation.detector_runners import Detect

FOUND_IOU = 0.5


@dataclass(frozen=True, slots=True)
class DetectorScores:
    """Figures of a split.

    Attributes:
        pictures: looked at.
        things: true boxes in them.
        recall: share of the true boxes that some region overlaps by `FOUND_IOU` or more.
        class_accuracy: share of the found ones whose best region names the right class.
        attribute_accuracy: the same of the attribute, where one is known.
        mean_iou: of the found ones with their best region.
        regions_per_picture: mean.
    """

    pictures: int
    things: int
    recall: float
    class_accuracy: float
    attribute_accuracy: float
    mean_iou: float
    regions_per_picture: float


def evaluate_detector(detect: Detect, examples: Iterable[DetectorExample]) -> DetectorScores:
    """Run a detector on pictures and compare its regions with what is there.

    Args:
        detect: decoded picture to regions.
        examples: at least one, with at least one true box in all.

    Raises:
        ArtifactError: there is nothing to find.
    """
    pictures, regions = 0, 0
    # Of every true box: its best overlap, and whether that region's class and attribute are right (-1: not known).
    rows: list[np.ndarray] = []
    for example in examples:
        found = detect(decode_image(example.image))
        pictures += 1
        regions += len(found)
        if not len(example.boxes):
            continue
        # Shares of one picture: overlaps are the same as in pixels.
        overlaps = pairwise_iou(example.boxes, found.boxes)
        best = overlaps.argmax(axis=1)
        right = found.attribute_ids[best] == example.attribute_ids
        rows.append(
            np.stack(
                [
                    overlaps.max(axis=1),
                    found.class_ids[best] == example.class_ids,
                    np.where(example.attribute_ids == NO_ATTRIBUTE, -1, right),
                ],
                axis=1,
            )
        )
    if not rows:
        raise ArtifactError("no true box in the pictures: nothing can be measured")
    things = np.concatenate(rows)
    hits = things[things[:, 0] >= FOUND_IOU]
    attributes = hits[hits[:, 2] >= 0, 2]
    return DetectorScores(
        pictures=pictures,
        things=len(things),
        recall=len(hits) / len(things),
        class_accuracy=_mean(hits[:, 1]),
        attribute_accuracy=_mean(attributes),
        mean_iou=_mean(hits[:, 0]),
        regions_per_picture=regions / pictures,
    )


def _mean(values: np.ndarray) -> float:
    """0 where there is none."""
    return float(values.mean()) if len(values) else 0.0
