"""The list of all settings, read off the records: name, variable, type, default and text of each."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from dataclasses import dataclass
from typing import Any

from vlp_server.engines.triton_control import CONTROL_SECRET_VARIABLE

ENV_PREFIX = "VLPSERVE_"
CONFIG_FILE_VARIABLE = ENV_PREFIX + "CONFIG"
# Read by the commands that ask a server, or start Triton; no settings of the server's.
CLIENT_VARIABLES = frozenset({ENV_PREFIX + "URL", ENV_PREFIX + "API_KEY", CONTROL_SECRET_VARIABLE})


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set.

    Attributes:
        path: keys from the root of the configuration, as in a TOML file.
        kind: annotated type.
        default: value where nobody sets it.
        text: what it means.
        is_secret: whether its value is shown to nobody; such a field of a record has repr=False.
    """

    path: tuple[str, ...]
    kind: Any
    default: Any
    text: str
    is_secret: bool = False

    @property
    def name(self) -> str:
        """Dotted name, as in a file and in messages."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """Name of its environment variable."""
        return ENV_PREFIX + "_".join(self.path).upper()


def settings_of(record: type[Any], path: tuple[str, ...] = ()) -> tuple[Setting, ...]:
    """All settings of a record and the records in it, in the order of their fields."""
    hints = typing.get_type_hints(record)
    texts = attribute_texts(record)
    found: list[Setting] = []
    for field in dataclasses.fields(record):
        kind = hints[field.name]
        if dataclasses.is_dataclass(kind):
            found.extend(settings_of(typing.cast("type[Any]", kind), (*path, field.name)))
            continue
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        text = texts.get(field.name, "")
        found.append(Setting((*path, field.name), kind, default, text, is_secret=not field.repr))
    return tuple(found)


def sections_of(record: type[Any]) -> dict[str, type[Any]]:
    """The records directly in a record, by field name."""
    hints = typing.get_type_hints(record)
    return {
        field.name: hints[field.name]
        for field in dataclasses.fields(record)
        if dataclasses.is_dataclass(hints[field.name])
    }


def attribute_texts(record: type[Any]) -> dict[str, str]:
    """The texts under "Attributes:" of a record's docstring, by name."""
    _, _, block = inspect.cleandoc(record.__doc__ or "").partition("Attributes:\n")
    texts: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        if start := re.match(r" {4}(\w+): (.*)", line):
            name = start[1]
            texts[name] = start[2].strip()
        elif name and line.startswith(" " * 8):
            texts[name] += " " + line.strip()
        elif line.strip():
            break
    return texts
