"""Deployment <-> JSON, strict: an unknown or missing key, or a wrong type, is an error that names its place."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from enum import StrEnum
from typing import Any

from vlp_spec.deployment import PRECISIONS, SCHEMA_VERSION, Deployment, check_name
from vlp_spec.errors import ArtifactError


def dump_deployment(deployment: Deployment) -> str:
    """The manifest as indented JSON text."""
    return json.dumps(dataclasses.asdict(deployment), indent=1, sort_keys=True) + "\n"


def parse_deployment(text: str) -> Deployment:
    """Read a manifest.

    Raises:
        ArtifactError: not JSON, another schema version, or a field that is missing, unknown or of a wrong type.
    """
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ArtifactError(f"deployment manifest: not JSON ({error})") from error
    if not isinstance(raw, dict) or raw.get("schema_version") != SCHEMA_VERSION:
        got = raw.get("schema_version") if isinstance(raw, dict) else type(raw).__name__
        raise ArtifactError(f"deployment manifest: schema_version {got!r}, this version reads {SCHEMA_VERSION}")
    deployment: Deployment = _read(Deployment, raw, "deployment")
    check_name(deployment.name)
    for graph in deployment.graphs:
        check_name(graph.name)
        for path in graph.files:
            for part in path.split("/"):
                check_name(part)
    for asset in deployment.assets:
        check_name(asset)
    if deployment.version < 1:
        raise ArtifactError(f"deployment.version: got {deployment.version}, expected 1 or more")
    _check_bounds(deployment)
    if deployment.precision not in PRECISIONS:
        raise ArtifactError(f"deployment.precision: {deployment.precision!r} is none of {', '.join(PRECISIONS)}")
    return deployment


def _check_bounds(deployment: Deployment) -> None:
    """An infinite tolerance would let any graph pass; requests would wait for ever for an axis that holds nothing."""
    if not 0 <= deployment.canary_tolerance < math.inf:
        raise ArtifactError(f"deployment.canary_tolerance: got {deployment.canary_tolerance}, expected a finite bound")
    for axis, limit in deployment.axes.items():
        if not 1 <= limit.min <= limit.opt <= limit.max:
            sizes = f"min {limit.min}, opt {limit.opt}, max {limit.max}"
            raise ArtifactError(f"deployment.axes.{axis}: got {sizes}, expected 1 <= min <= opt <= max")


def _read(kind: Any, value: Any, place: str) -> Any:
    """Build a value of the annotated type `kind` from plain JSON."""
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _read_record(kind, value, place)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        _expect(isinstance(value, list), value, "a list", place)
        return tuple(_read(arguments[0], item, f"{place}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        _expect(isinstance(value, dict), value, "an object", place)
        return {key: _read(arguments[1], item, f"{place}.{key}") for key, item in value.items()}
    if origin in (types.UnionType, typing.Union):
        _expect(type(value) in arguments, value, " or ".join(a.__name__ for a in arguments), place)
        return value
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        _expect(value in list(kind), value, "one of " + ", ".join(kind), place)
        return kind(value)
    if kind is float:
        _expect(type(value) in (int, float), value, "a number", place)
        return float(value)
    _expect(type(value) is kind, value, kind.__name__, place)
    return value


def _read_record(kind: Any, value: Any, place: str) -> Any:
    _expect(isinstance(value, dict), value, "an object", place)
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(value) - set(fields)):
        raise ArtifactError(f"{place}: unknown key {', '.join(unknown)}")
    required = {
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - set(value)):
        raise ArtifactError(f"{place}: missing key {', '.join(missing)}")
    try:
        return kind(**{name: _read(hints[name], item, f"{place}.{name}") for name, item in value.items()})
    except ValueError as error:
        raise ArtifactError(f"{place}: {error}") from error


def _expect(condition: bool, value: Any, wanted: str, place: str) -> None:
    if not condition:
        raise ArtifactError(f"{place}: got {value!r:.80}, expected {wanted}")
