"""Arrays of floats in msgpack, as the package msgpack-numpy writes them, decoded here: that package would unpickle.

An array is a map with the keys nd, type, kind, shape and data. Source: lebedov/msgpack-numpy, msgpack_numpy.py (its
older versions write no kind, and the keys as texts).
"""

from __future__ import annotations

from collections.abc import Collection
from math import prod
from typing import Any

import numpy as np

from vlp_models.data.lmdb_file import load_optional

_FLOATS = {"<f2": np.float16, "<f4": np.float32, "<f8": np.float64}


def unpack_map(data: bytes) -> dict[Any, Any]:
    """A msgpack map; lengths in it are bounded by the data's own.

    Raises:
        ValueError: not msgpack, cut short, no map, or a key twice.
        ConfigError: msgpack is not installed.
    """
    msgpack = load_optional("msgpack", "msgpack")
    try:
        value = msgpack.unpackb(data, raw=False, object_pairs_hook=_distinct)
    except (msgpack.exceptions.UnpackException, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"not msgpack, or cut short ({error or type(error).__name__})") from error
    if not isinstance(value, dict):
        raise ValueError(f"a msgpack {type(value).__name__}, expected a map")
    return value


def unpack_arrays(data: bytes, names: Collection[str]) -> dict[str, np.ndarray]:
    """The named arrays of a map of arrays; others are passed over.

    Returns:
        Those that are there; read-only.

    Raises:
        ValueError: as `unpack_map`, or an array of objects, of other numbers than floats, or of another shape than
            its bytes.
    """
    return {name: _array(name, value) for name, value in unpack_map(data).items() if name in names}


def _distinct(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key twice in one map")
    return values


def _array(name: str, value: Any) -> np.ndarray:
    if not isinstance(value, dict):
        raise ValueError(f"{name}: a msgpack {type(value).__name__}, expected an array of msgpack-numpy")
    parts = {_text(key): part for key, part in value.items()}
    kind, dtype = _text(parts.get("kind", "")), _text(parts.get("type", ""))
    if kind == "O" or "O" in dtype:
        raise ValueError(f"{name}: an array of Python objects; such arrays are never opened")
    if parts.get("nd") is not True or kind or dtype not in _FLOATS:
        raise ValueError(f"{name}: expected an array of one of {', '.join(_FLOATS)}, got type {dtype!r:.40}")
    shape, data = parts.get("shape"), parts.get("data")
    if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"{name}: its shape is no list of lengths")
    size = np.dtype(_FLOATS[dtype]).itemsize * prod(shape)
    if not isinstance(data, bytes) or len(data) != size or len(shape) > 4:
        raise ValueError(f"{name}: its bytes are not those of shape {shape!r:.80}")
    return np.frombuffer(data, dtype=dtype).reshape(shape)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
