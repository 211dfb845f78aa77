"""Bytes or values on the wire <-> arrays, and the elements of BYTES tensors. Shapes were checked before."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vlp_spec.errors import InvalidArgumentError

from vlp_server.oip.datatypes import BYTES, NUMPY
from vlp_server.oip.records import InputTensor, OutputTensor

_PIECE = 65_536
_LENGTH = struct.Struct("<I")
# Kind of a numpy dtype -> types of values that stand for it.
_ALLOWED: Mapping[str, set[type]] = {"b": {bool}, "u": {int}, "i": {int}, "f": {int, float}}


def read_numbers(tensor: InputTensor, count: int) -> NDArray[Any]:
    """The array of a tensor of numbers; of `raw` it is a view that must not be written to.

    Args:
        count: of elements, the product of its shape.

    Raises:
        InvalidArgumentError: more or fewer bytes or values than that, or values that are not of the datatype.
    """
    dtype = NUMPY[tensor.datatype]
    if tensor.raw is not None:
        if len(tensor.raw) != count * dtype.itemsize:
            raise _fault(tensor, f"{len(tensor.raw)} bytes, its shape needs {count * dtype.itemsize}")
        array = np.frombuffer(tensor.raw, dtype)
        if dtype == np.bool_ and (array.view(np.uint8) > 1).any():
            raise _fault(tensor, "a BOOL is one byte, 0 or 1")
    else:
        array = _from_values(tensor, _flat(tensor, count), dtype)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise _fault(tensor, "holds what is no finite number")
    return array.reshape(tensor.shape)


def read_elements(tensor: InputTensor, count: int) -> list[bytes]:
    """The elements of a BYTES tensor.

    Raises:
        InvalidArgumentError: more or fewer than `count`, or a length that leads out of the bytes.
    """
    if tensor.raw is None:
        return [_element(tensor, value) for value in _flat(tensor, count)]
    raw, start = memoryview(tensor.raw), 0
    elements: list[bytes] = []
    while start < len(raw):
        if len(elements) == count or len(raw) - start < _LENGTH.size:
            raise _fault(tensor, f"its bytes do not end with its {count} elements")
        (length,) = _LENGTH.unpack_from(raw, start)
        start += _LENGTH.size
        if length > len(raw) - start:
            raise _fault(tensor, f"an element of {length} bytes, and {len(raw) - start} bytes are left")
        elements.append(bytes(raw[start : start + length]))
        start += length
    if len(elements) != count:
        raise _fault(tensor, f"{len(elements)} elements, its shape needs {count}")
    return elements


def raw_of(output: OutputTensor) -> bytes:
    """The bytes of an output as they lie in memory, little end first."""
    if isinstance(output.data, np.ndarray):
        return output.data.astype(NUMPY[output.datatype], copy=False).tobytes()
    return b"".join(part for one in output.data for part in (_LENGTH.pack(len(one)), one))


def values_of(output: OutputTensor) -> list[Any]:
    """The values of an output, flat, as JSON has them.

    Raises:
        InvalidArgumentError: an element is no text.
    """
    if isinstance(output.data, np.ndarray):
        return list(output.data.reshape(-1).tolist())
    try:
        return [one.decode() for one in output.data]
    except UnicodeDecodeError:
        raise InvalidArgumentError(f"output {output.name!r}: is no text; ask for it as binary data") from None


def _flat(tensor: InputTensor, count: int) -> Sequence[Any]:
    """The values in row-major order; as deep as the shape has sizes at most."""
    values: Sequence[Any] = tensor.values if tensor.values is not None else []
    for _ in tensor.shape:
        if not values or not isinstance(values[0], list):
            break
        if not all(isinstance(value, list) for value in values):
            raise _fault(tensor, "lists and values side by side")
        values = [value for part in values for value in part]
    if len(values) != count:
        raise _fault(tensor, f"{len(values)} values, its shape needs {count}")
    return values


def _from_values(tensor: InputTensor, values: Sequence[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Piece by piece: other threads go on between two of them, and few values are objects at a time."""
    array = np.empty(len(values), dtype)
    for start in range(0, len(values), _PIECE):
        array[start : start + _PIECE] = _piece(tensor, values[start : start + _PIECE], dtype)
    return array


def _piece(tensor: InputTensor, values: Sequence[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if not set(map(type, values)) <= _ALLOWED[dtype.kind]:
        raise _fault(tensor, f"expected values of the datatype {tensor.datatype}")
    try:
        if dtype.kind == "f":
            with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
                return np.array(values, np.float64).astype(dtype)
        if dtype.kind == "b":
            return np.array(values, dtype)
        wide = np.array(values, np.int64)
    except OverflowError:
        raise _fault(tensor, f"a value outside {tensor.datatype}") from None
    limits = np.iinfo(dtype)
    if wide.size and (wide.min() < limits.min or wide.max() > limits.max):
        raise _fault(tensor, f"a value outside {tensor.datatype}, {limits.min} to {limits.max}")
    return wide.astype(dtype)


def _element(tensor: InputTensor, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise _fault(tensor, f"expected texts as values of the datatype {BYTES}")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise _fault(tensor, "half of a surrogate pair is not text") from None


def _fault(tensor: InputTensor, text: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"input {tensor.name[:64]!r}: {text}", field=tensor.name[:64])
