"""Recipes as TOML files: reading with overrides, finding the shipped ones, writing what a run used."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from vlp_spec.errors import ConfigError

from vlp_models.training.recipe import Recipe
from vlp_models.training.strict_records import read_record


def shipped_recipes() -> dict[str, str]:
    """Name -> TOML text of the recipes that come with the package."""
    folder = resources.files("vlp_models.recipes")
    return {
        item.name.removesuffix(".toml"): item.read_text(encoding="utf-8")
        for item in folder.iterdir()
        if item.name.endswith(".toml")
    }


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        source: a TOML file, or the name of a shipped recipe.
        overrides: "table.key=value" lines; the value is TOML, or a plain text.

    Raises:
        ConfigError: no such recipe, not TOML, or its faults, all at once.
    """
    path = Path(source)
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        shipped = shipped_recipes()
        if str(source) not in shipped:
            names = ", ".join(sorted(shipped))
            raise ConfigError([f"recipe {str(source)!r}: no such file, and no shipped recipe; shipped: {names}"])
        text = shipped[str(source)]
    return parse_recipe(text, overrides)


def parse_recipe(text: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe's TOML text; see `load_recipe`."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"recipe: not TOML ({error})"]) from error
    faults: list[str] = []
    for override in overrides:
        _apply(raw, override, faults)
    recipe = read_record(Recipe, raw, "", faults)
    if faults:
        raise ConfigError([f"recipe: {fault}" for fault in faults])
    if not isinstance(recipe, Recipe):
        raise ConfigError(["recipe: could not be read"])
    return recipe


def _apply(raw: dict[str, Any], override: str, faults: list[str]) -> None:
    """Set one value in the nested tables; "key=" alone with no value removes it."""
    key, sign, value = override.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts):
        faults.append(f"--set {override!r}: expected table.key=value")
        return
    table = raw
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            faults.append(f"--set {override!r}: {part!r} is not a table")
            return
    if value == "":
        table.pop(parts[-1], None)
        return
    try:
        table[parts[-1]] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        table[parts[-1]] = value


def dump_recipe(recipe: Recipe) -> str:
    """The whole recipe, defaults included, as TOML that `parse_recipe` reads back to an equal one."""
    lines: list[str] = []
    _dump_table(dataclasses.asdict(recipe), "", lines)
    return "\n".join(lines).strip() + "\n"


def _dump_table(table: Mapping[str, Any], prefix: str, lines: list[str]) -> None:
    nested = {key: value for key, value in table.items() if isinstance(value, dict)}
    if prefix:
        lines.append(f"\n[{prefix}]")
    for key, value in table.items():
        if key not in nested and value is not None:
            # JSON's texts, numbers, booleans and lists are TOML's too.
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    for key, value in nested.items():
        _dump_table(value, f"{prefix}.{key}" if prefix else key, lines)
