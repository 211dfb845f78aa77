"""The one place that reads settings: flag > environment > file > default. All faults at once, with source.

No other module reads the process's environment.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlp_spec.errors import ConfigError

from vlp_server.config.schema import (
    CLIENT_VARIABLES,
    CONFIG_FILE_VARIABLE,
    ENV_PREFIX,
    Setting,
    sections_of,
    settings_of,
)
from vlp_server.config.server import ServerConfig, default_collections, default_store
from vlp_server.config.values import kind_name, parse_text, parse_toml


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """A configuration and where each value came from.

    Attributes:
        config: the values.
        origins: setting name -> "flag", "environment NAME", "FILE" or "default".
    """

    config: ServerConfig
    origins: Mapping[str, str]


@dataclass(slots=True)
class _Gathered:
    """Values found so far, best source last, and every fault met on the way."""

    values: dict[str, Any]
    origins: dict[str, str]
    faults: list[str]

    def take(self, setting: Setting, value: Any, origin: str) -> None:
        self.values[setting.name] = value
        self.origins[setting.name] = origin


def load_config(
    flags: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None, file: Path | None = None
) -> ServerConfig:
    """Read the configuration; arguments and errors as `resolve_config`."""
    return resolve_config(flags, environ, file).config


def resolve_config(
    flags: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None, file: Path | None = None
) -> ResolvedConfig:
    """Read the configuration and keep where each value came from.

    Args:
        flags: setting name ("http.port") -> text, from the command line.
        environ: variables; None takes the process's.
        file: a TOML file; None takes the one that VLPSERVE_CONFIG names, if any.

    Raises:
        ConfigError: every unknown key, bad value and contradiction of all sources.
    """
    variables = dict(os.environ if environ is None else environ)
    named = variables.get(CONFIG_FILE_VARIABLE)
    path = file if file is not None else Path(named).expanduser() if named else None
    settings = {setting.name: setting for setting in settings_of(ServerConfig)}
    gathered = _Gathered(
        {name: setting.default for name, setting in settings.items()}, dict.fromkeys(settings, "default"), []
    )
    if path is not None:
        _take_file(gathered, settings, path)
    _take_environment(gathered, settings, variables)
    for name, text in (flags or {}).items():
        if name in settings:
            _take_text(gathered, settings[name], text, "flag")
        else:
            gathered.faults.append(f"flag: unknown setting {name!r}{_near(name, settings)}")
    if gathered.values["models.store"] is None:
        gathered.values["models.store"] = default_store(variables)
    if gathered.values["collections.place"] is None:
        gathered.values["collections.place"] = str(default_collections(variables))
    config = _build(ServerConfig, (), gathered)
    if gathered.faults or config is None:
        raise ConfigError(gathered.faults)
    return ResolvedConfig(config, gathered.origins)


def _take_text(gathered: _Gathered, setting: Setting, text: str, origin: str) -> None:
    try:
        gathered.take(setting, parse_text(setting.kind, text), origin)
    except ValueError as error:
        gathered.faults.append(f"{origin}: {setting.name}: {_reason(setting, error)}")


def _reason(setting: Setting, error: ValueError) -> str:
    """What is wrong with a value, without the value where it is a secret."""
    return f"expected {kind_name(setting.kind)}" if setting.is_secret else str(error)


def _take_environment(gathered: _Gathered, settings: Mapping[str, Setting], variables: Mapping[str, str]) -> None:
    by_variable = {setting.variable: setting for setting in settings.values()}
    for variable, text in sorted(variables.items()):
        if variable in by_variable:
            _take_text(gathered, by_variable[variable], text, f"environment {variable}")
        elif variable.startswith(ENV_PREFIX) and variable not in CLIENT_VARIABLES | {CONFIG_FILE_VARIABLE}:
            gathered.faults.append(f"environment: unknown variable {variable}{_near(variable, by_variable)}")


def _take_file(gathered: _Gathered, settings: Mapping[str, Setting], path: Path) -> None:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        gathered.faults.append(f"{path}: cannot be read ({error.strerror})")
        return
    except ValueError as error:
        gathered.faults.append(f"{path}: not TOML ({error})")
        return
    for name, value in _leaves(tree, settings):
        if name not in settings:
            gathered.faults.append(f"{path}: unknown key {name!r}{_near(name, settings)}")
            continue
        try:
            gathered.take(settings[name], parse_toml(settings[name].kind, value), str(path))
        except ValueError as error:
            gathered.faults.append(f"{path}: {name}: {_reason(settings[name], error)}")


def _leaves(tree: Mapping[str, Any], settings: Mapping[str, Setting], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted name and value of every key; a table that no setting lies under counts as one key."""
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = prefix + key
        if isinstance(value, dict) and any(known.startswith(name + ".") for known in settings):
            found.extend(_leaves(value, settings, name + "."))
        else:
            found.append((name, value))
    return found


def _build(record: type[Any], path: tuple[str, ...], gathered: _Gathered) -> Any:
    """Build a record from the gathered values; its own faults are added with the source of the value at fault."""
    sections = sections_of(record)
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        here = (*path, field.name)
        if field.name in sections:
            arguments[field.name] = _build(sections[field.name], here, gathered)
        else:
            arguments[field.name] = gathered.values[".".join(here)]
    if any(arguments[name] is None for name in sections):
        return None
    try:
        return record(**arguments)
    except ConfigError as error:
        messages = error.faults
    except ValueError as error:
        messages = (str(error),)
    gathered.faults.extend(_with_source(message, path, gathered.origins) for message in messages)
    return None


def _with_source(message: str, path: tuple[str, ...], origins: Mapping[str, str]) -> str:
    """A record's fault with its full name and the source of the value; some records already name themselves."""
    own_prefix = f"{path[-1]}." if path else ""
    full = ".".join((*path, message.removeprefix(own_prefix)))
    origin = origins.get(full.partition(":")[0])
    return f"{origin}: {full}" if origin else full


def _near(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
