"""Command-line flags -> the flags that the configuration's loader takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click


def as_flags(values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, str]:
    """Flags by setting name.

    Args:
        values: setting name -> value of its own option, None where not given.
        assignments: NAME=VALUE texts of --set.

    Raises:
        click.UsageError: an assignment without "=", or one that an option of its own contradicts.
    """
    flags = {name: _text(value) for name, value in values.items() if value is not None}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise click.UsageError(f"--set {assignment}: expected NAME=VALUE, such as http.port=8080")
        if flags.get(name, text) != text:
            raise click.UsageError(f"--set {name}: an option of its own says otherwise")
        flags[name] = text
    return flags


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.absolute()) if isinstance(value, Path) else str(value)
