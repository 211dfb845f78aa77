"""Vectors on the wire: base64 of little-endian float32. Without numpy, which a caller may not have."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Iterable


def vector_bytes(vector: Iterable[float]) -> bytes:
    """Numbers (a list, an array, a numpy row) as float32."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def read_bytes(content: bytes) -> array[float]:
    """The numbers; `numpy.asarray` takes them without copying."""
    numbers = array("f")
    numbers.frombytes(content)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def write_base64(vector: Iterable[float]) -> str:
    """Numbers as base64 of float32."""
    return base64.b64encode(vector_bytes(vector)).decode()


def read_base64(text: str) -> array[float]:
    """The numbers of base64 of float32."""
    return read_bytes(base64.b64decode(text, validate=True))
