"""One training step's losses of a region detector: both stages on one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from vlp_pipeline.detector_anchors import grid_anchors
from vlp_pipeline.detector_proposals import select_proposals
from vlp_pipeline.detector_settings import DetectorSettings

from vlp_models.families.faster_rcnn import BackboneOutput, FasterRcnn
from vlp_models.objectives.region_detection import TrueRegions, region_detection_losses, sample_rois
from vlp_models.objectives.region_proposals import region_proposal_losses


@dataclass(frozen=True)
class DetectorSampling:
    """What is learned from each picture.

    Attributes:
        anchors_per_picture: judged by the loss of the proposals.
        proposals_per_picture: that regions are drawn from.
        rois_per_picture: drawn.
    """

    anchors_per_picture: int = 64
    proposals_per_picture: int = 64
    rois_per_picture: int = 32


def detector_losses(
    model: FasterRcnn,
    pixels: Tensor,
    truth: Sequence[TrueRegions],
    *,
    settings: DetectorSettings,
    sampling: DetectorSampling,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """The five losses of a batch, to be added up: name -> scalar.

    Args:
        model: in training mode.
        pixels: (B, 3, H, W), pictures of one size.
        truth: of each picture, on the model's device.
        settings: of the host side, with the model's anchors.
        sampling: how much is learned from a picture.
        generator: the source of chance, on the CPU.

    Raises:
        InferenceError: the proposals are not finite: training diverged.
    """
    maps = model.backbone_and_rpn(pixels)
    rows, columns = maps.feature_map.shape[2:]
    cells = np.array(settings.cell_anchors, dtype=np.float32)
    anchors = torch.from_numpy(grid_anchors(cells, rows, columns, settings.stride_px)).to(pixels.device)
    proposing = region_proposal_losses(
        maps.objectness,
        maps.anchor_deltas,
        anchors,
        [true.boxes for true in truth],
        anchors_per_picture=sampling.anchors_per_picture,
        generator=generator,
    )
    config = model.config
    sampled = sample_rois(
        _proposals(maps, settings, pixels),
        truth,
        num_classes=config.num_classes,
        rois_per_picture=sampling.rois_per_picture,
        box_weights=config.box_weights,
        generator=generator,
    )
    _, logits = model.judge_pooled(model.pool_rois(maps.feature_map, sampled.rois), sampled.class_ids)
    detecting = region_detection_losses(logits, sampled, config.num_classes)
    return {
        "objectness_loss": proposing.objectness,
        "anchor_box_loss": proposing.boxes,
        "class_loss": detecting.classes,
        "region_box_loss": detecting.boxes,
        "attribute_loss": detecting.attributes,
    }


@torch.no_grad()
def _proposals(maps: BackboneOutput, settings: DetectorSettings, pixels: Tensor) -> list[Tensor]:
    """Of each picture, as the host side makes them while serving."""
    height, width = pixels.shape[2:]
    objectness, deltas = maps.objectness.float().cpu().numpy(), maps.anchor_deltas.float().cpu().numpy()
    return [
        torch.from_numpy(select_proposals(*pair, settings, width_px=width, height_px=height)).to(pixels.device)
        for pair in zip(objectness, deltas, strict=True)
    ]
