"""Metadata of items: JSON objects, checked and written the same way by every store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vlp_spec.errors import InvalidArgumentError, TooLargeError

MAX_DEPTH = 16
_INT64 = range(-(2**63), 2**63)


def encode_metadata(metadata: Mapping[str, Any], max_bytes: int) -> str:
    """Metadata as JSON text without spaces; keys and strings are written as they are, not escaped to ASCII.

    Raises:
        InvalidArgumentError: not an object of JSON values; NaN or infinite; an integer of more than 64 bits; a NUL or
            a lone surrogate in a text (no store can compare them); nested deeper than 16.
        TooLargeError: longer than `max_bytes` in UTF-8.
    """
    if not isinstance(metadata, Mapping):
        raise _fault(f"got {type(metadata).__name__}, expected an object")
    _check(metadata, 1)
    text = json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    size_bytes = len(text.encode())
    if size_bytes > max_bytes:
        raise TooLargeError(f"metadata: {size_bytes} bytes as JSON, at most {max_bytes} are allowed")
    return text


def decode_metadata(text: str) -> dict[str, Any]:
    """What `encode_metadata` wrote."""
    metadata: dict[str, Any] = json.loads(text)
    return metadata


def _check(value: object, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _fault(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, Mapping):
        for key, member in value.items():
            if not isinstance(key, str):
                raise _fault(f"a key is {type(key).__name__}, expected text")
            _check_text(key)
            _check(member, depth + 1)
    elif isinstance(value, list | tuple):
        for member in value:
            _check(member, depth + 1)
    else:
        _check_scalar(value)


def _check_scalar(value: object) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif value is None or isinstance(value, bool):
        return
    elif isinstance(value, int):
        if value not in _INT64:
            raise _fault("an integer has more than 64 bits")
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise _fault("a number is not finite")
    else:
        raise _fault(f"{type(value).__name__} is no JSON value")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise _fault("a text has a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _fault("a text has a lone surrogate") from None


def _fault(what: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"metadata: {what}", field="metadata")
