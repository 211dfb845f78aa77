"""Regions in a JSON body.

    {"boxes": [[x0, y0, x1, y1], ...], "features": base64 | [[...], ...], "scores": [...],
     "box_format": "shares" | "pixels", "width": 640, "height": 480}

`features` in base64 are float32, little-endian, region after region. `scores` and the last line may be left out; boxes
in pixels need the picture's size, boxes in shares take none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from vlp_spec.errors import TooLargeError

from vlp_pipeline.region_base64 import decode_floats, split_rows
from vlp_pipeline.regions import (
    DEFAULT_REGION_LIMITS,
    FIELD,
    RegionLimits,
    Regions,
    check_counts,
    check_regions,
    invalid_regions,
)

_KEYS = ("boxes", "features", "scores", "box_format", "width", "height")
_SHARES, _PIXELS = "shares", "pixels"
MAX_SIDE_PX = 1_000_000


def regions_from_json(value: Any, limits: RegionLimits = DEFAULT_REGION_LIMITS) -> Regions:
    """Read a decoded JSON value.

    Raises:
        InvalidArgumentError: no such object, a key that is missing or unknown, lists of other things than numbers,
            or what `check_regions` refuses; of field "regions".
        TooLargeError: over a limit.
    """
    if not isinstance(value, Mapping):
        raise invalid_regions(f"got {type(value).__name__}, expected an object with boxes and features")
    for key in value:
        if key not in _KEYS:
            raise invalid_regions(f"unknown key {key!r:.80}; expected {', '.join(_KEYS)}")
    for key in ("boxes", "features"):
        if value.get(key) is None:
            raise invalid_regions(f"no {key}; both boxes and features are needed")
    boxes = _matrix(value["boxes"], "boxes", limits, width=4)
    features = _features(value["features"], len(boxes), limits)
    scores = None
    if value.get("scores") is not None:
        check_counts({"boxes": len(boxes), "scores": len(_listed(value["scores"], "scores", limits))})
        scores = _numbers(value["scores"], "scores")
    return check_regions(_shares(boxes, value), features, scores=scores, limits=limits)


def shares_of_pixels(boxes: np.ndarray, width_px: float, height_px: float) -> np.ndarray:
    """Boxes in pixels as shares of the picture's sides: (R, 4) float64."""
    return np.asarray(boxes, dtype=np.float64) / (width_px, height_px, width_px, height_px)


def _shares(boxes: np.ndarray, value: Mapping[str, Any]) -> np.ndarray:
    box_format = value.get("box_format", _SHARES)
    if box_format == _SHARES:
        if value.get("width") is not None or value.get("height") is not None:
            raise invalid_regions(f'width and height go with "box_format": "{_PIXELS}" alone')
        return boxes
    if box_format != _PIXELS:
        raise invalid_regions(f"box_format: expected {_SHARES!r} or {_PIXELS!r}")
    return shares_of_pixels(boxes, _side_px(value, "width"), _side_px(value, "height"))


def _side_px(value: Mapping[str, Any], name: str) -> float:
    side = value.get(name)
    if side is None or not _is_number(side) or not 0 < side <= MAX_SIDE_PX:
        raise invalid_regions(f"{name}: expected the picture's in pixels, a number above 0 and up to {MAX_SIDE_PX}")
    return float(side)


def _features(value: Any, rows: int, limits: RegionLimits) -> np.ndarray:
    if isinstance(value, str):
        return split_rows(decode_floats(value, "features", limits.max_bytes), rows, "features")
    return _matrix(value, "features", limits, width=limits.feature_width)


def _matrix(value: Any, name: str, limits: RegionLimits, *, width: int | None) -> np.ndarray:
    """(rows, width) float64 from a list of lists, each of which has the length of the first."""
    rows = _listed(value, name, limits)
    if not all(isinstance(row, list) for row in rows):
        raise invalid_regions(f"{name}: expected a list of lists of numbers")
    expected = len(rows[0]) if width is None else width
    for number, row in enumerate(rows):
        if len(row) != expected or not row:
            raise invalid_regions(f"{name}: row {number} has {len(row)} numbers, expected {expected or 'at least 1'}")
    if 4 * len(rows) * expected > limits.max_bytes:
        raise TooLargeError(f"{FIELD}: {name}: {len(rows)} x {expected} float32 are over {limits.max_bytes} bytes")
    return np.stack([_numbers(row, f"{name}: row {number}") for number, row in enumerate(rows)])


def _listed(value: Any, name: str, limits: RegionLimits) -> list[Any]:
    if not isinstance(value, list):
        raise invalid_regions(f"{name}: got {type(value).__name__}, expected a list")
    if not value:
        raise invalid_regions(f"{name}: 0 regions, at least 1 is needed")
    if len(value) > limits.max_regions:
        raise TooLargeError(f"{FIELD}: {len(value)} regions, at most {limits.max_regions} are accepted")
    return value


def _numbers(row: list[Any], name: str) -> np.ndarray:
    """(n,) float64; what is no number (true, "1", null) is refused, where numpy would take it for one."""
    if not all(map(_is_number, row)):
        wrong = next(item for item in row if not _is_number(item))
        raise invalid_regions(f"{name}: got {type(wrong).__name__}, expected numbers")
    try:
        return np.array(row, dtype=np.float64)
    except OverflowError:
        raise invalid_regions(f"{name}: an integer beyond the range of float") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
