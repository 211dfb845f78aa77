"""The header of a .npy array of floats: read without trusting it, and written at a fixed length.

Plain text matching: nothing that the header says is evaluated or allocated. Source: numpy.lib.format, versions 1 and 2.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from math import prod
from typing import IO

import numpy as np

_MAGIC = b"\x93NUMPY"
# numpy writes about 120 bytes for arrays of plain numbers.
_MAX_HEADER_BYTES = 4096
_WRITTEN_BYTES = 128
# Possessive: a header that does not fit is refused after one look at each of its characters.
_HEADER = re.compile(
    r"\{ *+'descr' *+: *+'([^'\\]{1,32})' *+, *+'fortran_order' *+: *+(True|False) *+, *+"
    r"'shape' *+: *+\( *+((?:-?[0-9]{1,18}L?+ *+(?:, *+|(?=\))))*+)\) *+(?:, *+)?+\} *+\n?"
)
_FLOATS = {"<f2": np.float16, "<f4": np.float32, "<f8": np.float64}


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What a .npy file says of its array.

    Attributes:
        dtype: float16, float32 or float64, little-endian.
        shape: no length is negative.
        column_major: whether the first axis varies fastest.
        length_bytes: of the header; the numbers follow it.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    column_major: bool
    length_bytes: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the numbers."""
        return self.dtype.itemsize * prod(self.shape)

    def array(self, numbers: bytes) -> np.ndarray:
        """The array over exactly `size_bytes` bytes; it shares them, and is read-only."""
        flat = np.frombuffer(numbers, dtype=self.dtype)
        return flat.reshape(self.shape[::-1]).T if self.column_major else flat.reshape(self.shape)


def read_npy_header(stream: IO[bytes]) -> NpyHeader:
    """Read the header; the stream is then where the numbers begin.

    Raises:
        ValueError: not a .npy file, cut short, of objects or other things than little-endian floats, or of a shape
            that is none.
    """
    start = stream.read(8)
    if len(start) < 8 or not start.startswith(_MAGIC) or start[6:] not in (b"\x01\x00", b"\x02\x00"):
        raise ValueError("not an array that numpy wrote (.npy, version 1 or 2), or cut short")
    kind = "<H" if start[6] == 1 else "<I"
    length_field = stream.read(struct.calcsize(kind))
    if len(length_field) < struct.calcsize(kind):
        raise ValueError("cut short within its header")
    (length,) = struct.unpack(kind, length_field)
    if length > _MAX_HEADER_BYTES:
        raise ValueError(f"its header has {length} bytes, at most {_MAX_HEADER_BYTES} are read")
    text = stream.read(length)
    if len(text) < length:
        raise ValueError("cut short within its header")
    matched = _HEADER.fullmatch(text.decode("latin-1"))
    if matched is None:
        raise ValueError(f"its header is not that of a plain array of numbers: {text[:120]!r}")
    return _checked(*matched.groups(), length_bytes=len(start) + len(length_field) + length)


def _checked(descr: str, order: str, shape_text: str, *, length_bytes: int) -> NpyHeader:
    if "O" in descr:
        raise ValueError("an array of Python objects; such arrays are never opened")
    if descr not in _FLOATS:
        raise ValueError(f"numbers of type {descr!r}, expected one of {', '.join(_FLOATS)}")
    shape = tuple(int(length) for length in re.findall(r"-?[0-9]+", shape_text))
    if any(length < 0 for length in shape):
        raise ValueError(f"shape {shape}, expected no negative length")
    return NpyHeader(np.dtype(_FLOATS[descr]), shape, order == "True", length_bytes)


def npy_header(dtype: type[np.floating], shape: tuple[int, ...]) -> bytes:
    """A version 1 header of 128 bytes whatever the shape is, so that it can be written again when the array has grown.

    Args:
        dtype: np.float16, np.float32 or np.float64.
        shape: at most four axes.
    """
    text = f"{{'descr': '{np.dtype(dtype).newbyteorder('<').str}', 'fortran_order': False, 'shape': {shape}, }}"
    body = text.encode("ascii").ljust(_WRITTEN_BYTES - 11) + b"\n"
    return _MAGIC + b"\x01\x00" + struct.pack("<H", len(body)) + body
