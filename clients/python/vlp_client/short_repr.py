"""Records that a prompt or a log can show: of what is long, the beginning and how much there is."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

_ITEMS, _ROWS = 3, 8
_CHARS = 80


class ShortRepr:
    """Base of frozen dataclasses (with `repr=False`) whose fields may hold vectors, bytes or many rows."""

    __slots__ = ()

    def __repr__(self) -> str:
        shown = [f"{one.name}={short(getattr(self, one.name))}" for one in fields(self) if one.repr]  # type: ignore[arg-type]  # its subclasses are dataclasses
        return f"{type(self).__name__}({', '.join(shown)})"


def short(value: Any) -> str:
    """A value as `repr` shows it, where that is short."""
    if isinstance(value, array):
        return f"<{len(value)} numbers>"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, str):
        return repr(value) if len(value) <= _CHARS else f"{value[:_CHARS]!r}<{len(value)} characters>"
    if isinstance(value, list | tuple):
        shown, left = [short(one) for one in value[:_ITEMS]], len(value) - _ITEMS
        start, end = ("[", "]") if isinstance(value, list) else ("(", ",)" if len(value) == 1 else ")")
        return start + ", ".join([*shown, f"<{left} more>"] if left > 0 else shown) + end
    if isinstance(value, Mapping):
        rows, left = list(value.items())[:_ROWS], len(value) - _ROWS
        shown = [f"{short(key)}: {short(one)}" for key, one in rows]
        return "{" + ", ".join([*shown, f"<{left} more>"] if left > 0 else shown) + "}"
    whole = repr(value)
    # What a caller put in, such as a matrix, may show itself at length.
    return whole if isinstance(value, ShortRepr) or len(whole) <= 4 * _CHARS else f"<{type(value).__name__}>"
