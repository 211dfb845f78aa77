"""Filters over metadata: JSON -> a small tree that is the same for every store.

    {"kind": "disc"}                        equal
    {"size": {"gte": 2, "lt": 5}}           eq, ne, lt, lte, gt, gte; several in one object must all hold
    {"kind": {"in": ["disc", "ring"]}}
    {"camera.lens": {"exists": true}}       dots lead into nested objects
    {"and": [..]}  {"or": [..]}  {"not": {..}}
    {"kind": "disc", "size": 3}             several members must all hold

The rule, once: a comparison is true or false, never unknown. It is true only where the item has the field and its value
is of the same type as the one it is compared with (text, number, true/false; 3 and 3.0 are one number, and true is not
1). So an item that lacks the field matches no eq, lt, lte, gt, gte or in, and matches exists:false, every ne and
every not of such a comparison. A field that is null counts as lacking: {"a": null} is {"a": {"exists": false}}. Lists
and objects match `exists` only. Texts are ordered by code point.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from vlp_spec.errors import InvalidArgumentError

MAX_DEPTH = 8
MAX_NODES = 64
MAX_IN_VALUES = 256
MAX_TEXT_BYTES = 1024
MAXPATH_PARTS = 8
# Quotes and backslashes would need escapes that SQLite's JSON paths do not have; brackets mean elements of lists.
PATH_PART = re.compile(r"[^\x00-\x1f\x7f\"\\.\[\]\ud800-\udfff]{1,128}")
_INT64 = range(-(2**63), 2**63)

Scalar: TypeAlias = str | int | float | bool
Order = Literal["lt", "lte", "gt", "gte"]
SIGNS: Mapping[Order, str] = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


@dataclass(frozen=True, slots=True)
class Equals:
    """The field is there, of the value's type, and equal to one of the values."""

    path: tuple[str, ...]
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Compares:
    """The field is there, of the value's type (text or number), and stands so to the value."""

    path: tuple[str, ...]
    order: Order
    value: str | int | float


@dataclass(frozen=True, slots=True)
class Exists:
    """The field is there and not null."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Every:
    """All of the parts hold; true where there are none."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of the parts holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """The part does not hold."""

    part: Filter


Filter: TypeAlias = Equals | Compares | Exists | Every | Some | Negation


def parse_filter(value: object) -> Filter:
    """Read a filter from JSON values.

    Raises:
        InvalidArgumentError: not the language above; deeper than 8; more than 64 conditions; a list of more than 256
            values or none; a text over 1024 bytes; a field name with quotes, backslashes, brackets or control
            characters. `field` is "filter".
    """
    return _Parser().node(value, 1)


class _Parser:
    """Reads one filter, counting its conditions."""

    def __init__(self) -> None:
        self._nodes = 0

    def node(self, value: object, depth: int) -> Filter:
        if not isinstance(value, Mapping):
            raise _fault(f"got {_type_name(value)}, expected an object")
        if depth > MAX_DEPTH:
            raise _fault(f"nested deeper than {MAX_DEPTH}")
        if not value:
            raise _fault("an object is empty; leave the filter out to match everything")
        return _every([self._member(key, member, depth) for key, member in value.items()])

    def _member(self, key: object, value: object, depth: int) -> Filter:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _fault(f"more than {MAX_NODES} conditions")
        if key == "not":
            return Negation(self.node(value, depth + 1))
        if key in ("and", "or"):
            if not isinstance(value, list) or not value:
                raise _fault(f"{key!r}: expected a list of at least one filter")
            parts = tuple(self.node(part, depth + 1) for part in value)
            return Every(parts) if key == "and" else Some(parts)
        path = _path(key)
        if isinstance(value, Mapping):
            if not value:
                raise _fault(f"field {key!r}: an object of no operators")
            return _every([self._condition(path, name, operand) for name, operand in value.items()])
        return _equals(path, value)

    def _condition(self, path: tuple[str, ...], name: object, operand: object) -> Filter:
        self._nodes += 1
        read = _OPERATORS.get(name) if isinstance(name, str) else None
        if read is None:
            raise _fault(f"operator {_shown(name)} is none of {', '.join(_OPERATORS)}")
        return read(path, operand)


def _every(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else Every(tuple(parts))


def _path(key: object) -> tuple[str, ...]:
    parts = tuple(key.split(".")) if isinstance(key, str) else ()
    if not 1 <= len(parts) <= MAXPATH_PARTS or not all(PATH_PART.fullmatch(part) for part in parts):
        raise _fault(
            f"field {_shown(key)}: expected names joined by dots, at most {MAXPATH_PARTS} of 128 characters, "
            "without quotes, backslashes, brackets and control characters"
        )
    return parts


def _equals(path: tuple[str, ...], value: object) -> Filter:
    if value is None:
        return Negation(Exists(path))
    return Equals(path, (_scalar(value),))


def _differs(path: tuple[str, ...], value: object) -> Filter:
    equal = _equals(path, value)
    return equal.part if isinstance(equal, Negation) else Negation(equal)


def _one_of(path: tuple[str, ...], values: object) -> Filter:
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_IN_VALUES:
        raise _fault(f"'in': expected a list of 1 to {MAX_IN_VALUES} values")
    return Equals(path, tuple(_scalar(value) for value in values))


def _exists(path: tuple[str, ...], wanted: object) -> Filter:
    if not isinstance(wanted, bool):
        raise _fault("'exists': expected true or false")
    return Exists(path) if wanted else Negation(Exists(path))


def _ordered(order: Order) -> Callable[[tuple[str, ...], object], Filter]:
    def read(path: tuple[str, ...], value: object) -> Filter:
        scalar = _scalar(value)
        if isinstance(scalar, bool):
            raise _fault(f"{order!r}: true and false have no order; expected a number or a text")
        return Compares(path, order, scalar)

    return read


_OPERATORS: dict[str, Callable[[tuple[str, ...], object], Filter]] = {
    "eq": _equals,
    "ne": _differs,
    "lt": _ordered("lt"),
    "lte": _ordered("lte"),
    "gt": _ordered("gt"),
    "gte": _ordered("gte"),
    "in": _one_of,
    "exists": _exists,
}


def _scalar(value: object) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value not in _INT64:
            raise _fault("an integer has more than 64 bits")
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise _fault("a number is not finite")
        return value
    if isinstance(value, str):
        return _text(value)
    raise _fault(f"a value is {_type_name(value)}, expected text, a number, true or false")


def _text(value: str) -> str:
    if any(ord(character) < 32 or "\ud800" <= character <= "\udfff" for character in value):
        raise _fault("a text has a control character or a lone surrogate")
    if len(value.encode()) > MAX_TEXT_BYTES:
        raise _fault(f"a text is longer than {MAX_TEXT_BYTES} bytes")
    return value


def _type_name(value: Any) -> str:
    return {type(None): "null", list: "a list", dict: "an object"}.get(type(value), type(value).__name__)


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _fault(what: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"filter: {what}", field="filter")
