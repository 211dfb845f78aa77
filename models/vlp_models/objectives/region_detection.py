"""Learning what a proposed region shows: class, attribute, and a better box.

Sources: Girshick 2015 (arXiv:1504.08083), sec. 2.3; Anderson et al. 2018 (arXiv:1707.07998), sec. 3.1, and its
training graph (peteanderson80/bottom-up-attention, train.prototxt): attributes are judged knowing the true class, on
regions that show something, and weigh half as much as classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vlp_models.layers.roi_box_predictor import RoiLogits
from vlp_models.layers.roi_boxes import encode_boxes, pairwise_iou
from vlp_models.objectives.region_proposals import sample_labels

FOREGROUND_IOU = 0.5
FOREGROUND_SHARE = 0.5
ATTRIBUTE_WEIGHT = 0.5
NO_ATTRIBUTE = -1
_SMOOTH_L1_BETA = 1.0


@dataclass(frozen=True, eq=False)
class TrueRegions:
    """What is in a picture.

    Attributes:
        boxes: (M, 4) float32, pixels.
        class_ids: (M,) int64.
        attribute_ids: (M,) int64, `NO_ATTRIBUTE` where none is known.
    """

    boxes: Tensor
    class_ids: Tensor
    attribute_ids: Tensor


@dataclass(frozen=True, eq=False)
class SampledRois:
    """Proposals of a batch to learn from; R in all.

    Attributes:
        rois: (R, 5), the picture's number, then x0, y0, x1, y1 in pixels.
        class_ids: (R,) int64, the background last.
        attribute_ids: (R,) int64, `NO_ATTRIBUTE` where none is known, or where it is background.
        box_targets: (R, 4), zero where it is background.
    """

    rois: Tensor
    class_ids: Tensor
    attribute_ids: Tensor
    box_targets: Tensor


class DetectionLosses(NamedTuple):
    """Float32; `attributes` is already weighed."""

    classes: Tensor
    boxes: Tensor
    attributes: Tensor


def sample_rois(
    proposals: Sequence[Tensor],
    truth: Sequence[TrueRegions],
    *,
    num_classes: int,
    rois_per_picture: int,
    box_weights: Sequence[float],
    generator: torch.Generator,
) -> SampledRois:
    """Choose proposals to learn from; the true boxes are among them.

    A proposal shows something where it overlaps a true box by half or more; half of those chosen do, where there are
    as many.

    Args:
        proposals: of each picture (R, 4), pixels.
        truth: of each picture.
        num_classes: without the background, whose number it is.
        rois_per_picture: chosen; 64 for the published detector.
        box_weights: of the box targets.
        generator: the source of chance.
    """
    parts = []
    for picture, (proposed, true) in enumerate(zip(proposals, truth, strict=True)):
        candidates = torch.cat([proposed, true.boxes])
        if len(true.boxes):
            overlap, match = pairwise_iou(candidates, true.boxes).max(dim=1)
        else:
            overlap, match = candidates.new_zeros(len(candidates)), torch.zeros(len(candidates), dtype=torch.int64)
        shows = (overlap >= FOREGROUND_IOU).long()
        front, back = sample_labels(shows, rois_per_picture, FOREGROUND_SHARE, generator)
        boxes = candidates[torch.cat([front, back])]
        matched = match[front]
        parts.append(
            (
                torch.cat([boxes.new_full((len(boxes), 1), picture), boxes], dim=1),
                torch.cat([true.class_ids[matched], torch.full_like(back, num_classes)]),
                torch.cat([true.attribute_ids[matched], torch.full_like(back, NO_ATTRIBUTE)]),
                torch.cat(
                    [
                        encode_boxes(candidates[front], true.boxes[matched], box_weights),
                        boxes.new_zeros(len(back), 4),
                    ]
                ),
            )
        )
    return SampledRois(*(torch.cat(column) for column in zip(*parts, strict=True)))


def region_detection_losses(logits: RoiLogits, sampled: SampledRois, num_classes: int) -> DetectionLosses:
    """Cross entropy over all regions, smooth L1 over those that show something, cross entropy of known attributes.

    Args:
        logits: of the sampled regions.
        sampled: what they should be.
        num_classes: without the background.
    """
    classes = F.cross_entropy(logits.class_logits.float(), sampled.class_ids)
    front = torch.nonzero(sampled.class_ids < num_classes)[:, 0]
    deltas = logits.box_deltas[front].float()
    if deltas.shape[1] > 4:
        deltas = deltas.unflatten(1, (-1, 4))[torch.arange(len(front)), sampled.class_ids[front]]
    boxes = F.smooth_l1_loss(deltas, sampled.box_targets[front], beta=_SMOOTH_L1_BETA, reduction="sum")
    known = sampled.attribute_ids != NO_ATTRIBUTE
    attributes = F.cross_entropy(logits.attribute_logits[known].float(), sampled.attribute_ids[known], reduction="sum")
    return DetectionLosses(
        classes,
        boxes / max(len(sampled.class_ids), 1),
        ATTRIBUTE_WEIGHT * attributes / known.sum().clamp(min=1),
    )
