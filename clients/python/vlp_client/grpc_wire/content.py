"""Pictures, regions and vectors as messages."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2
from vlp_proto.vlp.v1 import content_pb2 as content

from vlp_client.calls import Call
from vlp_client.pictures import Picture
from vlp_client.regions import SentRegions
from vlp_client.vectors import read_bytes, vector_bytes
from vlp_client.wire_values import WireVector


def picture_message(part: Picture | SentRegions) -> Any:
    """A picture, its URL, or what was found in it."""
    if isinstance(part, Picture):
        return content.Picture(url=part.url) if part.url is not None else content.Picture(content=part.content)
    if part.file is not None:
        return content.Picture(regions_npz=part.file[1])
    return content.Picture(regions=_regions(part.value or {}))


def subject_messages(call: Call[Any]) -> list[Any]:
    """What a call is about, in its order."""
    return [] if call.subject is None else [picture_message(part) for part in call.subject.parts]


def vector_message(vector: WireVector) -> Any:
    """A vector."""
    return content.Vector(values=read_bytes(vector.content))


def vector_of(message: Any) -> bytes:
    """A vector as bytes, which replies may hold in the place of base64."""
    return vector_bytes(message.values)


def struct_message(value: Mapping[str, Any]) -> Any:
    """JSON as a message.

    Raises:
        ValueError: it holds what JSON cannot.
    """
    return json_format.ParseDict(dict(value), struct_pb2.Struct())


def struct_value(message: Any) -> dict[str, Any]:
    """JSON of a message; whole numbers as int."""
    return {name: _plain(value) for name, value in json_format.MessageToDict(message).items()}


def box_of(message: Any) -> list[float]:
    """x0, y0, x1, y1."""
    return [message.x0, message.y0, message.x1, message.y1]


def given(message: Any, name: str) -> Any | None:
    """An optional field; None where it was left out."""
    return getattr(message, name) if message.HasField(name) else None


def _regions(value: Mapping[str, Any]) -> Any:
    width, height = (value["width"], value["height"]) if "width" in value else (1.0, 1.0)
    sizes = (width, height, width, height)
    boxes = []
    for box in value["boxes"]:
        x0, y0, x1, y1 = (edge / size for edge, size in zip(box, sizes, strict=True))
        boxes.append(content.Box(x0=x0, y0=y0, x1=x1, y1=y1))
    features = base64.b64decode(value["features"])
    return content.Regions(boxes=boxes, features=features, scores=value.get("scores", ()))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value
