"""Regions of a picture: what a server finds, and what may be sent in place of the picture. Without numpy."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vlp_client.replies import Reply
from vlp_client.short_repr import ShortRepr
from vlp_client.vectors import write_base64


@dataclass(frozen=True, slots=True, repr=False)
class Regions(ShortRepr):
    """Regions with the features that a model reads, to be sent in place of a picture.

    Attributes:
        boxes: x0, y0, x1, y1 of each, as shares of the picture's width and height.
        features: little-endian float32, region after region; or as many numbers for each region.
        scores: confidence of each, 0 to 1.
        size_px: width and height of the picture, where the boxes are in pixels.
    """

    boxes: Sequence[Sequence[float]]
    features: bytes | bytearray | memoryview | Sequence[Sequence[float]]
    scores: Sequence[float] | None = None
    size_px: tuple[float, float] | None = None

    def json_value(self) -> dict[str, Any]:
        """The regions as JSON holds them.

        Raises:
            ValueError: regions with different numbers of features.
        """
        value: dict[str, Any] = {
            "boxes": [[float(edge) for edge in box] for box in self.boxes],
            "features": _base64_of(self.features),
        }
        if self.scores is not None:
            value["scores"] = [float(score) for score in self.scores]
        if self.size_px is not None:
            width, height = map(float, self.size_px)
            value |= {"box_format": "pixels", "width": width, "height": height}
        return value


RegionSource = Regions | str | Path | bytes | bytearray | memoryview | BinaryIO


@dataclass(frozen=True, slots=True)
class Region:
    """A region that a server found.

    Attributes:
        box: x0, y0, x1, y1 as shares of the picture's width and height.
        score: confidence, 0 to 1; None where the model tells none.
        name: what it is taken for.
        attribute: how it looks; None where the model knows no attributes.
    """

    box: tuple[float, float, float, float]
    score: float | None
    name: str
    attribute: str | None


@dataclass(frozen=True, slots=True, repr=False)
class FoundRegions(ShortRepr):
    """The regions of a picture, the most confident first.

    Attributes:
        model: name@version that found them.
        encoder: its digest; only models that were made for it can read the features.
        features: little-endian float32, region after region; None where they were not asked for.
        feature_size: numbers of a region's features.
        timings_ms: where the time went, by stage, as the server says.
    """

    model: str
    encoder: str
    regions: tuple[Region, ...]
    features: bytes | None
    feature_size: int | None
    timings_ms: Mapping[str, float]

    def to_send(self) -> Regions:
        """The same, to be sent in place of the picture.

        Raises:
            ValueError: the features were not asked for.
        """
        if self.features is None:
            raise ValueError("these regions have no features; ask for them with features=True")
        scores = [region.score for region in self.regions if region.score is not None]
        boxes = [region.box for region in self.regions]
        return Regions(boxes, self.features, scores if len(scores) == len(boxes) else None)


@dataclass(frozen=True, slots=True)
class SentRegions:
    """Regions ready to be sent: an .npz file, or a JSON value."""

    file: tuple[str, bytes] | None = None
    value: Mapping[str, Any] | None = None

    @property
    def json_value(self) -> Any:
        """As JSON holds them."""
        return self.value if self.file is None else base64.b64encode(self.file[1]).decode()


def read_regions(source: RegionSource) -> SentRegions:
    """Make regions ready to be sent; a str is a path.

    Raises:
        OSError: the file cannot be read.
        TypeError: not regions in any form that is known here.
        ValueError: see `Regions.json_value`.
    """
    if isinstance(source, Regions):
        return SentRegions(value=source.json_value())
    if isinstance(source, str | Path):
        path = Path(source)
        return SentRegions(file=(path.name, path.read_bytes()))
    if isinstance(source, bytes | bytearray | memoryview):
        return SentRegions(file=("regions.npz", bytes(source)))
    if hasattr(source, "read"):
        content = source.read()
        if isinstance(content, bytes):
            return SentRegions(file=("regions.npz", content))
        raise TypeError("regions: the file is open as text; open it with mode 'rb'")
    raise TypeError(f"regions: got {type(source).__name__}, expected Regions, or a path, bytes or file of an .npz")


def read_found_regions(reply: Reply) -> FoundRegions:
    """Read what a server found; errors as `found_regions`."""
    return found_regions(reply.body, reply.timings_ms)


def found_regions(body: Mapping[str, Any], timings_ms: Mapping[str, float]) -> FoundRegions:
    """Read what a server found.

    Raises:
        ValueError: features that are not those of the regions.
    """
    regions = []
    for item in body["regions"]:
        x0, y0, x1, y1 = map(float, item["box"])
        regions.append(Region((x0, y0, x1, y1), item["score"], str(item["name"]), item["attribute"]))
    if body.get("features") is None:
        return FoundRegions(body["model"], body["encoder"], tuple(regions), None, None, timings_ms)
    features, feature_size = base64.b64decode(body["features"], validate=True), int(body["feature_size"])
    if len(features) != 4 * len(regions) * feature_size:
        raise ValueError(f"{len(features)} bytes of features for {len(regions)} regions of {feature_size} float32")
    return FoundRegions(body["model"], body["encoder"], tuple(regions), features, feature_size, timings_ms)


def _base64_of(features: bytes | bytearray | memoryview | Sequence[Sequence[float]]) -> str:
    if isinstance(features, bytes | bytearray | memoryview):
        return base64.b64encode(features).decode()
    widths = sorted({len(row) for row in features})
    if len(widths) > 1:
        raise ValueError(f"features: {widths[0]} numbers for one region, {widths[-1]} for another")
    return write_base64(number for row in features for number in row)
