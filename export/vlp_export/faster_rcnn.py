"""A region detector: two graphs, from pixels to maps, and from map and boxes to what the boxes show.

RoI pooling goes into the second as ONNX's own MaxRoiPool. onnxruntime reads it on CPU and CUDA; TensorRT's parser does
not, so the second graph stays with onnxruntime there.
"""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import Tensor, nn
from vlp_models.checkpoints import LoadedCheckpoint
from vlp_models.families.faster_rcnn import FasterRcnn, numbered_rois
from vlp_pipeline.detector_pipeline import ATTRIBUTES_ASSET
from vlp_pipeline.detector_regions import (
    BACKBONE_INPUTS,
    BACKBONE_OUTPUTS,
    BACKBONE_ROLE,
    ROI_HEAD_INPUTS,
    ROI_HEAD_OUTPUTS,
    ROI_HEAD_ROLE,
)
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_spec.deployment import AxisLimit
from vlp_spec.repository import LABELS_ASSET
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

from vlp_export.onnx_graph import OPSET
from vlp_export.operators import STANDARD_OPERATORS
from vlp_export.plan import ExportPlan, GraphPlan, LargestEntry

DETECTOR_OPERATORS = STANDARD_OPERATORS | {"MaxPool", "MaxRoiPool", "Pad"}
"""Standard ONNX; MaxRoiPool is not read by TensorRT's parser."""

MAX_BATCH = 1
"""Pictures differ in size, and padding would change what the cells near it see."""


class BackboneGraph(nn.Module):
    """Pixels to feature map and judged anchors."""

    def __init__(self, model: FasterRcnn) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See FasterRcnn.backbone_and_rpn."""
        return tuple(self.model.backbone_and_rpn(pixels))  # type: ignore[return-value]


class RoiHeadGraph(nn.Module):
    """Feature map and boxes to what the boxes show."""

    def __init__(self, model: FasterRcnn) -> None:
        super().__init__()
        self.model = model

    def forward(self, roi_feature_map: Tensor, rois: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See FasterRcnn.roi_head."""
        if torch.compiler.is_exporting():
            pooled = self._onnx_pooling(roi_feature_map, numbered_rois(rois))
        else:
            pooled = self.model.pool_rois(roi_feature_map, numbered_rois(rois))
        return tuple(self.model.scored(pooled, rois.shape[1]))  # type: ignore[return-value]

    def _onnx_pooling(self, feature_map: Tensor, rois: Tensor) -> Tensor:
        """The operator that gives the same numbers as `pool_rois`; it has no values while tracing."""
        bins = self.model.config.roi_resolution
        return torch.onnx.ops.symbolic(
            "MaxRoiPool",
            (feature_map, rois),
            attrs={"pooled_shape": [bins, bins], "spatial_scale": 1.0 / self.model.config.stride_px},
            dtype=feature_map.dtype,
            shape=(rois.shape[0], feature_map.shape[1], bins, bins),
            version=OPSET,
        )


def plan_faster_rcnn(checkpoint: LoadedCheckpoint) -> ExportPlan:
    """What to export of a region detector."""
    settings = DetectorSettings.from_mapping(checkpoint.image)
    names = {LABELS_ASSET: checkpoint.labels or (), ATTRIBUTES_ASSET: checkpoint.attributes}
    assets = {
        file: (json.dumps(list(words), ensure_ascii=False, indent=0) + "\n").encode()
        for file, words in names.items()
        if words
    }
    return ExportPlan(
        family="faster_rcnn",
        tasks=(Task.REGIONS,),
        graphs=plan_detector(checkpoint.detector, settings),
        axes=detector_axes(settings),
        image=settings.to_mapping(),
        text={},
        answer=LargestEntry("class_scores"),
        assets=assets,
        operators=DETECTOR_OPERATORS,
    )


def plan_detector(model: FasterRcnn, settings: DetectorSettings) -> tuple[GraphPlan, GraphPlan]:
    """Backbone and head as graphs.

    Pictures of a batch are of one size: padding would change what the cells near it see. Boxes may be padded with
    zeros; each is judged by itself.

    Args:
        model: float32, in evaluation mode, on the CPU.
        settings: of the host side.
    """
    config = model.config
    anchors = len(settings.cell_anchors)
    maps = {
        "feature_map": config.map_width,
        "objectness": anchors,
        "anchor_deltas": 4 * anchors,
    }
    regions = {
        "class_scores": config.num_classes + 1,
        "attribute_scores": config.num_attributes + 1,
        "region_features": config.feature_width,
        "box_deltas": 4 if config.class_agnostic_boxes else 4 * config.num_classes,
    }
    pixels, feature_map, rois = _traced_arrays(config.map_width, settings)
    backbone = GraphPlan(
        role=BACKBONE_ROLE,
        module=BackboneGraph(model).eval(),
        inputs=(TensorSpec(BACKBONE_INPUTS[0], settings.pixel_dtype, ("batch", 3, "height", "width")),),
        outputs=tuple(
            TensorSpec(name, "float32", ("batch", maps[name], "rows", "columns")) for name in BACKBONE_OUTPUTS
        ),
        example={BACKBONE_INPUTS[0]: pixels},
    )
    head = GraphPlan(
        role=ROI_HEAD_ROLE,
        module=RoiHeadGraph(model).eval(),
        inputs=(
            TensorSpec(ROI_HEAD_INPUTS[0], "float32", ("batch", config.map_width, "rows", "columns")),
            TensorSpec(ROI_HEAD_INPUTS[1], "float32", ("batch", "rois", 4)),
        ),
        outputs=tuple(TensorSpec(name, "float32", ("batch", "rois", regions[name])) for name in ROI_HEAD_OUTPUTS),
        example=dict(zip(ROI_HEAD_INPUTS, (feature_map, rois), strict=True)),
    )
    return backbone, head


def detector_axes(settings: DetectorSettings) -> dict[str, AxisLimit]:
    """Limits of every axis that the two graphs' inputs name."""
    stride, shorter, longer = settings.stride_px, settings.shorter_edge, settings.longer_edge
    side = AxisLimit(stride, shorter, longer)
    cells = AxisLimit(1, -(-shorter // stride), -(-longer // stride) + 1)
    return {
        "batch": AxisLimit(1, 1, MAX_BATCH),
        "height": side,
        "width": side,
        "rows": cells,
        "columns": cells,
        "rois": AxisLimit(1, settings.post_nms_top_n, settings.post_nms_top_n),
    }


def _traced_arrays(map_width: int, settings: DetectorSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Any valid arrays: shapes are dynamic, values do not matter, and small ones trace fast."""
    batch, rows, columns, rois = 2, 3, 5, 4
    height, width = rows * settings.stride_px, columns * settings.stride_px
    pixels = np.zeros((batch, 3, height, width), dtype=settings.pixel_dtype)
    boxes = np.tile(np.array([0, 0, settings.stride_px, settings.stride_px], np.float32), (batch, rois, 1))
    return pixels, np.zeros((batch, map_width, rows, columns), np.float32), boxes
