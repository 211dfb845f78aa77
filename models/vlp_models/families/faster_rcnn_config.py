"""The configuration of a Faster R-CNN with a ResNet C4 backbone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from vlp_spec.errors import ConfigError

from vlp_models.layers.resnet_c4 import STEM_STRIDE

MODEL_TYPE = "vlpserve-faster-rcnn"
_STAGES = 3
_NUMBERS = (
    "stem_width",
    "res2_width",
    "bottleneck_width",
    "res5_depth",
    "res5_stride",
    "res5_dilation",
    "rpn_width",
    "roi_resolution",
    "num_classes",
    "num_attributes",
)
_TUPLES = ("depths", "strides", "anchor_sizes_px", "anchor_ratios", "pixel_mean", "pixel_std", "box_weights")


@dataclass(frozen=True)
class FasterRcnnConfig:
    """Shape of a region detector; refuses what cannot be built. The defaults are the published detector's.

    Args:
        num_classes: kinds of things, without the background.
        num_attributes: without "no attribute".
        stem_width: channels of the stem.
        res2_width: channels of res2; each later stage has twice as many, and the regions' features 8 times as many.
        bottleneck_width: channels inside the blocks of res2; likewise.
        depths: blocks of res2, res3 and res4.
        strides: of the first block of res2, res3 and res4.
        stride_in_1x1: strides are in the first convolution of a block, as in Caffe's ResNets; else in the second.
        res5_depth: blocks of the stage that works on regions.
        res5_stride: of its first block.
        res5_dilation: of its 3 x 3 convolutions.
        roi_resolution: bins along each side of a pooled region.
        rpn_width: channels of the region proposal network.
        anchor_sizes_px: square roots of the anchors' areas.
        anchor_ratios: heights over widths.
        class_agnostic_boxes: one regressed box for all classes.
        box_weights: what the regions' box deltas are multiples of.
        pixel_mean: blue, green, red, in 0 to 255.
        pixel_std: likewise.
        frozen_norm: batch norms keep the statistics and factors that they are loaded with, while training too.

    Source: peteanderson80/bottom-up-attention (models/vg/ResNet-101, lib/fast_rcnn/config.py); box_weights are the
    defaults of Detectron2.
    """

    num_classes: int
    num_attributes: int
    stem_width: int = 64
    res2_width: int = 256
    bottleneck_width: int = 64
    depths: tuple[int, int, int] = (3, 4, 23)
    strides: tuple[int, int, int] = (1, 2, 2)
    stride_in_1x1: bool = True
    res5_depth: int = 3
    res5_stride: int = 1
    res5_dilation: int = 2
    roi_resolution: int = 14
    rpn_width: int = 512
    anchor_sizes_px: tuple[float, ...] = (64.0, 128.0, 256.0, 512.0)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    class_agnostic_boxes: bool = False
    box_weights: tuple[float, ...] = (10.0, 10.0, 5.0, 5.0)
    pixel_mean: tuple[float, ...] = (102.9801, 115.9465, 122.7717)
    pixel_std: tuple[float, ...] = (1.0, 1.0, 1.0)
    frozen_norm: bool = True

    def __post_init__(self) -> None:
        for name in _TUPLES:
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        faults = [
            f"{name}: expected a positive whole number, got {getattr(self, name)!r}"
            for name in _NUMBERS
            if not _is_positive_int(getattr(self, name))
        ]
        faults += self._tuple_faults()
        faults += [
            f"{name}: expected true or false, got {getattr(self, name)!r}"
            for name in ("stride_in_1x1", "class_agnostic_boxes", "frozen_norm")
            if not isinstance(getattr(self, name), bool)
        ]
        if faults:
            raise ConfigError(faults)

    def _tuple_faults(self) -> list[str]:
        faults = []
        for name in _TUPLES:
            value = getattr(self, name)
            length = {"depths": _STAGES, "strides": _STAGES, "box_weights": 4, "pixel_mean": 3, "pixel_std": 3}.get(
                name
            )
            fits = _is_positive_int if name in ("depths", "strides") else _is_number
            if not isinstance(value, tuple) or not value or not all(fits(item) for item in value):
                faults.append(f"{name}: expected numbers that fit, got {value!r}")
            elif length is not None and len(value) != length:
                faults.append(f"{name}: expected {length} numbers, got {value!r}")
            elif name != "pixel_mean" and min(value) <= 0:
                faults.append(f"{name}: expected numbers above 0, got {value!r}")
        if not faults and _is_positive_int(self.res2_width) and self.feature_width % 8:
            faults.append(f"res2_width: {self.res2_width} gives features of {self.feature_width}, no multiple of 8")
        return faults

    @property
    def stride_px(self) -> int:
        """Pixels from a cell of the feature map to the next."""
        return STEM_STRIDE * math.prod(self.strides)

    @property
    def map_width(self) -> int:
        """Channels of the feature map."""
        return self.res2_width * 4

    @property
    def feature_width(self) -> int:
        """Numbers in a region's features, F."""
        return self.res2_width * 8

    @property
    def heads(self) -> tuple[str, ...]:
        """What the model can do, as other families call it."""
        return ("regions",)

    @property
    def max_text_len(self) -> int:
        """It reads no text."""
        return 0

    @classmethod
    def bottom_up_attention(cls) -> FasterRcnnConfig:
        """The published detector: ResNet-101, 1600 classes and 400 attributes of Visual Genome, features of 2048."""
        return cls(num_classes=1600, num_attributes=400)

    @classmethod
    def scenes(cls, num_classes: int, num_attributes: int) -> FasterRcnnConfig:
        """A small detector for pictures like the built-in scenes, to be trained from scratch; features of 256.

        Args:
            num_classes: kinds of things.
            num_attributes: colours.
        """
        return cls(
            num_classes=num_classes,
            num_attributes=num_attributes,
            stem_width=16,
            res2_width=32,
            bottleneck_width=16,
            depths=(1, 2, 2),
            strides=(1, 2, 1),
            res5_depth=2,
            res5_stride=2,
            res5_dilation=1,
            roi_resolution=7,
            rpn_width=128,
            anchor_sizes_px=(40.0, 58.0),
            anchor_ratios=(1.0,),
            class_agnostic_boxes=True,
            pixel_mean=(128.0, 128.0, 128.0),
            pixel_std=(64.0, 64.0, 64.0),
            frozen_norm=False,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FasterRcnnConfig:
        """Build from config.json's values; the inverse of `to_dict`.

        Raises:
            ConfigError: unknown or missing keys (all at once), another model_type, or values that cannot be built.
        """
        known = {field.name for field in fields(cls)}
        faults = [f"unknown key {key!r}" for key in values if key not in known | {"model_type"}]
        faults += [f"missing key {key!r}" for key in ("num_attributes", "num_classes") if key not in values]
        if values.get("model_type", MODEL_TYPE) != MODEL_TYPE:
            faults.append(f"model_type: expected {MODEL_TYPE!r}, got {values['model_type']!r}")
        if faults:
            raise ConfigError(faults)
        return cls(**{key: value for key, value in values.items() if key != "model_type"})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for config.json, model_type first."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"model_type": MODEL_TYPE, **values}


def _is_positive_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
