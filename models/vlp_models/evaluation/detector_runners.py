"""A detector that runs here: its torch model behind the names of its graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from vlp_pipeline.detector_regions import (
    BACKBONE_INPUTS,
    BACKBONE_OUTPUTS,
    ROI_HEAD_INPUTS,
    ROI_HEAD_OUTPUTS,
    DetectedRegions,
    RegionDetector,
    Runner,
)
from vlp_pipeline.detector_settings import DetectorSettings

from vlp_models.families.faster_rcnn import FasterRcnn

Detect = Callable[[np.ndarray], DetectedRegions]
"""(H, W, 3) uint8 RGB to regions."""


def torch_runners(model: FasterRcnn) -> tuple[Runner, Runner]:
    """The model's two parts as graphs are run: backbone, and head.

    Args:
        model: in evaluation mode; on any device.
    """
    device = model.cell_anchors.device

    @torch.inference_mode()
    def run_backbone(feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        pixels = torch.from_numpy(feeds[BACKBONE_INPUTS[0]]).to(device)
        outputs = model.backbone_and_rpn(pixels)
        return {name: value.cpu().numpy() for name, value in zip(BACKBONE_OUTPUTS, outputs, strict=True)}

    @torch.inference_mode()
    def run_roi_head(feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        outputs = model.roi_head(*(torch.from_numpy(feeds[name]).to(device) for name in ROI_HEAD_INPUTS))
        return {name: value.cpu().numpy() for name, value in zip(ROI_HEAD_OUTPUTS, outputs, strict=True)}

    return run_backbone, run_roi_head


def detector_of(settings: DetectorSettings, run_backbone: Runner, run_roi_head: Runner) -> Detect:
    """Host side and graphs put together."""
    detector = RegionDetector(settings)
    return lambda pixels: detector.detect(pixels, run_backbone, run_roi_head)
