"""The configuration written for people: the table of `config check` and the page of the documentation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from vlp_server.config.loader import ResolvedConfig
from vlp_server.config.schema import CONFIG_FILE_VARIABLE, settings_of
from vlp_server.config.server import ServerConfig
from vlp_server.config.values import kind_name

_PAGE_HEAD = f"""# Configuration

Every setting can be given by a flag (`--set NAME=VALUE`, and short forms for the usual ones), by its environment
variable, or in a TOML file (`--config FILE`, or the variable `{CONFIG_FILE_VARIABLE}`), in this order of precedence.
In a file the part before the dot is the table: `[http]`, `port = 8080`. In a flag or variable a list is written with
commas. An unknown key or variable, a bad value or a pair that contradicts itself ends the start with exit code 2 and a
list of all faults. `vlpserve config check [FILE]` prints every value and where it came from.

This page is written by `vlpserve generate`; a test proves that it is current.
"""


def config_rows(resolved: ResolvedConfig) -> list[tuple[str, Any, str]]:
    """Name, plain value and source of every setting."""
    rows = []
    for setting in settings_of(ServerConfig):
        value: Any = resolved.config
        for key in setting.path:
            value = getattr(value, key)
        shown = "***" if setting.is_secret and value else _plain(value)
        rows.append((setting.name, shown, resolved.origins[setting.name]))
    return rows


def config_table(resolved: ResolvedConfig) -> str:
    """The rows as aligned text."""
    rows = [(name, show_value(value), origin) for name, value, origin in config_rows(resolved)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for name, value, origin in rows)


def config_page() -> str:
    """docs/configuration.md, from the records alone."""
    lines = [_PAGE_HEAD]
    section = None
    for setting in settings_of(ServerConfig):
        head = ".".join(setting.path[:-1])
        if head != section:
            section = head
            lines += [f"\n## {head or 'General'}\n", _section_text(head), ""]
            lines += ["| name | variable | type | default | meaning |", "|---|---|---|---|---|"]
        default = show_value(_plain(setting.default))
        lines.append(
            f"| `{setting.name}` | `{setting.variable}` | {kind_name(setting.kind)} | `{default}` | {setting.text} |"
        )
    return "\n".join(lines) + "\n"


def show_value(value: Any) -> str:
    """A plain value as text; "-" for none, commas in a list."""
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return ",".join(show_value(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _section_text(head: str) -> str:
    record: Any = ServerConfig
    for key in head.split(".") if head else []:
        record = next(field for field in dataclasses.fields(record) if field.name == key).default_factory
    return str((record.__doc__ or "").strip().splitlines()[0])
