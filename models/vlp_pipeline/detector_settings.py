"""What the host side of a region detector needs to know beside its graphs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlp_spec.errors import ArtifactError

from vlp_pipeline.detector_anchors import cell_anchors

PIXEL_DTYPES = ("uint8", "float32")
Anchor = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """How pictures, proposals and regions of a Faster R-CNN are made. The defaults are the published ones.

    Attributes:
        cell_anchors: x0, y0, x1, y1 in pixels around the origin, in the order of the objectness map.
        stride_px: of the feature map.
        shorter_edge: target of the picture's shorter side in pixels.
        longer_edge: cap of its longer side; the whole picture shrinks to meet it.
        pixel_dtype: of the backbone's input: "float32", or "uint8" at a quarter of the bytes, rounded.
        pre_nms_top_n: best anchors that become boxes.
        post_nms_top_n: proposals kept.
        proposal_max_iou: overlap above which a proposal is a duplicate.
        min_box_side_px: proposals must be larger, on both sides.
        class_max_iou: overlap above which a region is a duplicate within a class.
        min_score: confidence from which on a region is kept.
        min_regions: kept at least, where there are as many proposals.
        max_regions: kept at most.
        type: "faster-rcnn".

    Source: peteanderson80/bottom-up-attention (test settings, tools/extract_feature_to_npz.py); regions of UNITER's
    features have min_score 0.2 and 10 to 100 regions, those of LXMERT and VisualBERT always 36.
    """

    cell_anchors: tuple[Anchor, ...]
    stride_px: int = 16
    shorter_edge: int = 600
    longer_edge: int = 1000
    pixel_dtype: str = "float32"
    pre_nms_top_n: int = 6000
    post_nms_top_n: int = 300
    proposal_max_iou: float = 0.7
    min_box_side_px: float = 0.0
    class_max_iou: float = 0.3
    min_score: float = 0.2
    min_regions: int = 10
    max_regions: int = 100
    type: str = "faster-rcnn"

    def __post_init__(self) -> None:
        if self.type != "faster-rcnn":
            raise ValueError(f"type {self.type!r}, expected 'faster-rcnn'")
        if self.pixel_dtype not in PIXEL_DTYPES:
            raise ValueError(f"pixel_dtype {self.pixel_dtype!r} is none of {', '.join(PIXEL_DTYPES)}")
        if not self.cell_anchors or not all(_is_box(anchor) for anchor in self.cell_anchors):
            raise ValueError("cell_anchors: expected boxes of finite x0 < x1 and y0 < y1, at least one")
        if not 1 <= self.stride_px <= self.shorter_edge <= self.longer_edge:
            raise ValueError(
                f"expected 1 <= stride_px <= shorter_edge <= longer_edge, got {self.stride_px}, "
                f"{self.shorter_edge}, {self.longer_edge}"
            )
        if not 1 <= self.post_nms_top_n <= self.pre_nms_top_n:
            raise ValueError(
                f"expected 1 <= post_nms_top_n <= pre_nms_top_n, got {self.post_nms_top_n}, {self.pre_nms_top_n}"
            )
        if not 1 <= self.min_regions <= self.max_regions:
            raise ValueError(f"expected 1 <= min_regions <= max_regions, got {self.min_regions}, {self.max_regions}")
        for name in ("proposal_max_iou", "class_max_iou", "min_score"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 to 1, got {getattr(self, name)!r}")
        if not 0 <= self.min_box_side_px < math.inf:
            raise ValueError(f"min_box_side_px: expected 0 or more, got {self.min_box_side_px!r}")

    @classmethod
    def bottom_up_attention(cls) -> DetectorSettings:
        """Those of the published detector; its weights carry the anchors too, and theirs count."""
        anchors = cell_anchors((64, 128, 256, 512), (0.5, 1.0, 2.0))
        return cls(tuple(tuple(anchor) for anchor in anchors.tolist()))

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any], place: str = "deployment.image") -> DetectorSettings:
        """Read settings of a deployment or a preprocessor_config.json; the inverse of `to_mapping`.

        Raises:
            ArtifactError: an unknown or missing key, or a value that does not fit.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        if unknown := sorted(set(raw) - set(known)):
            raise ArtifactError(f"{place}: unknown key {', '.join(unknown)}")
        if "cell_anchors" not in raw:
            raise ArtifactError(f"{place}: missing key cell_anchors")
        values: dict[str, Any] = {
            name: _anchors(value, place) if name == "cell_anchors" else _scalar(known[name], value, place)
            for name, value in raw.items()
        }
        try:
            return cls(**values)
        except ValueError as error:
            raise ArtifactError(f"{place}: {error}") from error

    def to_mapping(self) -> dict[str, Any]:
        """Plain values for JSON, the type first."""
        values = dataclasses.asdict(self)
        return {"type": values.pop("type"), **values, "cell_anchors": [list(anchor) for anchor in self.cell_anchors]}


def _scalar(field: dataclasses.Field[Any], value: Any, place: str) -> Any:
    expected = type(field.default)
    # JSON writes 0.0 as it likes.
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected:
        raise ArtifactError(f"{place}.{field.name}: got {value!r:.80}, expected {expected.__name__}")
    return value


def _anchors(value: Any, place: str) -> tuple[Anchor, ...]:
    if not isinstance(value, list) or not all(isinstance(row, list) and len(row) == 4 for row in value):
        raise ArtifactError(f"{place}.cell_anchors: got {value!r:.80}, expected a list of [x0, y0, x1, y1]")
    if not all(type(side) in (int, float) for row in value for side in row):
        raise ArtifactError(f"{place}.cell_anchors: expected numbers only")
    return tuple((float(row[0]), float(row[1]), float(row[2]), float(row[3])) for row in value)


def _is_box(anchor: Anchor) -> bool:
    return all(math.isfinite(side) for side in anchor) and anchor[0] < anchor[2] and anchor[1] < anchor[3]
