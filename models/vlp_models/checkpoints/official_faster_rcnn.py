"""Read the published detector of bottom-up attention in torch form (`frcnn-vg-finetuned`): names, sizes and anchors.

The file is a plain state dict; its config.yaml is not read, since all that it could say is in the weights' shapes or is
the same for every such file. The modelling code counts batches in its norms (`num_batches_tracked`); a file may leave
the counters out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_spec.errors import ArtifactError, ConfigError

from vlp_models.checkpoints.faster_rcnn_directory import DetectorCheckpoint
from vlp_models.checkpoints.state_loading import load_strictly
from vlp_models.checkpoints.torch_file import read_torch_file
from vlp_models.checkpoints.weight_files import read_weights
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig

ANCHORS = "proposal_generator.anchor_generator.cell_anchors.0"
_COUNTER = "num_batches_tracked"
_SIZE_KEYS = (
    "backbone.stem.conv1.weight",
    "backbone.res2.0.conv1.weight",
    "backbone.res2.0.conv3.weight",
    "proposal_generator.rpn_head.conv.weight",
    "proposal_generator.rpn_head.objectness_logits.bias",
    ANCHORS,
    "roi_heads.res5.0.conv1.weight",
    "roi_heads.box_predictor.cls_score.bias",
    "roi_heads.box_predictor.bbox_pred.bias",
    "roi_heads.box_predictor.attr_score.bias",
)


def is_official_faster_rcnn(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the detector's names."""
    return {"backbone.stem.conv1.weight", "roi_heads.box_predictor.attr_score.bias"} <= state.keys()


def read_official_faster_rcnn(path: Path) -> DetectorCheckpoint:
    """Read pytorch_model.bin, or a directory with it; tensors only, no pickled objects.

    Returns:
        the detector with the settings of UNITER's features; names of classes and attributes are not in the file.

    Raises:
        ArtifactError: it cannot be read, or its names or shapes are not the detector's.
    """
    state = read_weights(path) if path.is_dir() else read_torch_file(path).state
    model = build_official_faster_rcnn(state, str(path))
    return DetectorCheckpoint(model, model.anchored(DetectorSettings.bottom_up_attention()), source=str(path))


def build_official_faster_rcnn(state: Mapping[str, Tensor], source: str) -> FasterRcnn:
    """Build the model that a published state dict describes and load it strictly.

    Args:
        state: name -> tensor.
        source: names the checkpoint in errors.

    Raises:
        ArtifactError: sizes cannot be found, names or shapes do not fit, or the anchors are no boxes.
    """
    config = official_faster_rcnn_config(state, source)
    with torch.device("meta"):
        model = FasterRcnn(config)
    counters = {name for name in model.state_dict() if name.endswith(_COUNTER)}
    missing = counters - state.keys()
    # None of them, or all: a part would be a damaged file.
    if missing == counters:
        state = {**state, **{name: torch.zeros((), dtype=torch.int64) for name in counters}}
    load_strictly(model, state, source)
    model.freeze_norms()
    return model


def official_faster_rcnn_config(state: Mapping[str, Tensor], source: str) -> FasterRcnnConfig:
    """Find a model's sizes from its weights; strides, dilation and pixels' mean are those of every such file.

    Args:
        state: name -> tensor; only the anchors' values are read.
        source: names the checkpoint in errors.

    Raises:
        ArtifactError: a tensor that tells a size is missing, or the sizes contradict each other.
    """
    if absent := [name for name in _SIZE_KEYS if name not in state]:
        raise ArtifactError(f"{source}: not a detector of bottom-up attention: missing {', '.join(absent)}")
    num_classes = state["roi_heads.box_predictor.cls_score.bias"].shape[0] - 1
    sizes, ratios = _anchor_shapes(state[ANCHORS], source)
    try:
        return FasterRcnnConfig(
            num_classes=num_classes,
            num_attributes=state["roi_heads.box_predictor.attr_score.bias"].shape[0] - 1,
            stem_width=state["backbone.stem.conv1.weight"].shape[0],
            res2_width=state["backbone.res2.0.conv3.weight"].shape[0],
            bottleneck_width=state["backbone.res2.0.conv1.weight"].shape[0],
            depths=(
                _depth(state, "backbone.res2"),
                _depth(state, "backbone.res3"),
                _depth(state, "backbone.res4"),
            ),
            res5_depth=_depth(state, "roi_heads.res5"),
            rpn_width=state["proposal_generator.rpn_head.conv.weight"].shape[0],
            anchor_sizes_px=sizes,
            anchor_ratios=ratios,
            class_agnostic_boxes=state["roi_heads.box_predictor.bbox_pred.bias"].shape[0] == 4 and num_classes > 1,
        )
    except ConfigError as error:
        raise ArtifactError(f"{source}: {'; '.join(error.faults)}") from error


def _depth(state: Mapping[str, Tensor], stage: str) -> int:
    blocks = re.compile(re.escape(stage) + r"\.(\d+)\.conv1\.weight")
    return sum(blocks.fullmatch(name) is not None for name in state)


def _anchor_shapes(anchors: Tensor, source: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Sizes and ratios that give as many anchors; the model takes their exact sides from the weights.

    Raises:
        ArtifactError: the anchors are no boxes, or no product of sizes and ratios.
    """
    published = FasterRcnnConfig.bottom_up_attention()
    if anchors.ndim != 2 or anchors.shape[1] != 4:
        raise ArtifactError(f"{source}: {ANCHORS}: expected (anchors, 4) numbers, got {list(anchors.shape)}")
    is_known = anchors.device.type != "meta"
    sides = (anchors[:, 2:] - anchors[:, :2]).double()
    if is_known and not (torch.isfinite(anchors).all() and (sides > 0).all()):
        raise ArtifactError(f"{source}: {ANCHORS}: expected finite x0 < x1 and y0 < y1 in every row")
    if len(anchors) == len(published.anchor_sizes_px) * len(published.anchor_ratios) or not is_known:
        return published.anchor_sizes_px, published.anchor_ratios
    sizes = sorted({round(value, 1) for value in sides.prod(dim=1).sqrt().tolist()})
    ratios = sorted({round(value, 2) for value in (sides[:, 1] / sides[:, 0]).tolist()})
    if len(sizes) * len(ratios) != len(anchors):
        raise ArtifactError(
            f"{source}: {ANCHORS}: {len(anchors)} anchors, expected every one of {len(sizes)} sizes with every one of "
            f"{len(ratios)} ratios"
        )
    return tuple(sizes), tuple(ratios)
