"""Text or TOML -> typed values, strictly: what is not plainly of the type is a fault, never a guess."""

from __future__ import annotations

import math
import re
import types
import typing
from enum import StrEnum
from pathlib import Path
from typing import Any

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text", Path: "a path"}


def kind_name(kind: Any) -> str:
    """What a value of this type is, in words."""
    inner, optional = _unwrap_optional(kind)
    if optional:
        return kind_name(inner)
    if typing.get_origin(kind) is tuple:
        return f"a list, each {kind_name(typing.get_args(kind)[0])}"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return "one of " + ", ".join(kind)
    return _NAMES[kind]


def parse_text(kind: Any, text: str) -> Any:
    """Read a flag's or a variable's text; a list is written with commas.

    Raises:
        ValueError: it is not of the type; the message says what was got and expected.
    """
    inner, _ = _unwrap_optional(kind)
    if typing.get_origin(inner) is tuple:
        item = typing.get_args(inner)[0]
        return tuple(parse_text(item, part.strip()) for part in text.split(",")) if text.strip() else ()
    try:
        return _parse_scalar(inner, text)
    except (ValueError, KeyError):
        raise ValueError(f"got {text!r:.80}, expected {kind_name(kind)}") from None


def parse_toml(kind: Any, value: Any) -> Any:
    """Take a TOML value; an integer is also a number, and nothing else is converted.

    Raises:
        ValueError: it is not of the type.
    """
    inner, _ = _unwrap_optional(kind)
    if typing.get_origin(inner) is tuple and isinstance(value, list):
        item = typing.get_args(inner)[0]
        return tuple(parse_toml(item, part) for part in value)
    if inner in (bool, int) and type(value) is inner:
        return value
    if inner is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if isinstance(inner, type) and issubclass(inner, str | Path) and isinstance(value, str):
        return parse_text(kind, value)
    raise ValueError(f"got {value!r:.80}, expected {kind_name(kind)}")


def _parse_scalar(kind: Any, text: str) -> Any:
    if kind is bool:
        return _BOOLS[text.lower()]
    if kind is int:
        if not _INTEGER.fullmatch(text):
            raise ValueError
        return int(text)
    if kind is float:
        number = float(text)
        if not math.isfinite(number):
            raise ValueError
        return number
    if kind is Path:
        if not text:
            raise ValueError
        return Path(text).expanduser()
    return kind(text)


def _unwrap_optional(kind: Any) -> tuple[Any, bool]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        inner = [argument for argument in typing.get_args(kind) if argument is not type(None)]
        return inner[0], True
    return kind, False
