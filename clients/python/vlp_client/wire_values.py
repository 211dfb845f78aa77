"""Pictures and vectors inside the fields of a call: JSON holds them as base64, gRPC as bytes."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vlp_client.pictures import Picture
from vlp_client.vectors import vector_bytes


@dataclass(frozen=True, slots=True, repr=False)
class WireVector:
    """A vector, ready to be sent: little-endian float32."""

    content: bytes

    @staticmethod
    def of(numbers: Iterable[float]) -> WireVector:
        """Numbers (a list, an array, a numpy row)."""
        return WireVector(vector_bytes(numbers))


def json_default(value: Any) -> Any:
    """For `json.dumps`.

    Raises:
        TypeError: JSON cannot hold it.
    """
    if isinstance(value, Picture):
        return value.json_value
    if isinstance(value, WireVector):
        return base64.b64encode(value.content).decode()
    raise TypeError(f"{type(value).__name__} cannot be sent: JSON has no such value")


def wire_item(item: str | Picture) -> str | dict[str, Picture]:
    """An item that is embedded: a text, or a picture.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(item, str):
        return item
    if isinstance(item, Picture):
        return {"image": item}
    raise TypeError(f"got {type(item).__name__}, expected a text, or picture(...) of vlp_client")
