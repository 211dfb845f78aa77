"""Plain values (from TOML) to frozen dataclasses, collecting every fault instead of stopping at the first."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any

from vlp_spec.errors import ConfigError


def read_record(kind: type[Any], raw: Mapping[str, Any], place: str, faults: list[str]) -> Any:
    """Build a dataclass.

    Args:
        kind: a dataclass whose fields are bool, int, float, str, tuples of them, dataclasses, or X | None.
        raw: the values by field name.
        place: prefix in messages, "" at the top.
        faults: gets one line a fault: an unknown or missing key, a wrong type, or what the dataclass itself refuses.

    Returns:
        The dataclass; None when one of its own fields was at fault.
    """
    hints = typing.get_type_hints(kind)
    known = {item.name: item for item in dataclasses.fields(kind)}
    before = len(faults)
    for key in raw:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
            faults.append(f"{place}{key}: unknown key{hint}")
    values = {}
    for name, item in known.items():
        if name in raw:
            values[name] = _read(hints[name], raw[name], f"{place}{name}", faults)
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            faults.append(f"{place}{name}: missing")
    if len(faults) > before:
        return None
    try:
        return kind(**values)
    except ConfigError as error:
        faults.extend(f"{place}{fault}" for fault in error.faults)
        return None


def _read(kind: Any, value: Any, place: str, faults: list[str]) -> Any:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        kind = next(item for item in typing.get_args(kind) if item is not type(None))
        origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        if isinstance(value, Mapping):
            return read_record(typing.cast(type[Any], kind), value, f"{place}.", faults)
        faults.append(f"{place}: got {value!r:.60}, expected a table")
        return None
    if origin is tuple:
        if isinstance(value, list | tuple):
            item_kind = typing.get_args(kind)[0]
            return tuple(_read(item_kind, item, f"{place}[{i}]", faults) for i, item in enumerate(value))
        faults.append(f"{place}: got {value!r:.60}, expected a list")
        return None
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        faults.append(f"{place}: got {value!r:.60}, expected {kind.__name__}")
    return value
