"""Settings of a deployment's processors -> a frozen dataclass, strictly: each fault names its key."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from vlp_spec.errors import ArtifactError

Settings = TypeVar("Settings")


def read_settings(kind: type[Settings], raw: Mapping[str, Any], place: str) -> Settings:
    """Build a settings dataclass whose fields are plain integers and strings.

    Args:
        kind: the dataclass; its `__post_init__` may refuse values with ValueError.
        raw: the mapping of the manifest.
        place: what to call it in messages, such as "deployment.image".

    Raises:
        ArtifactError: a key is unknown or missing, or a value is of a wrong type or refused.
    """
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    required = {field.name for field in fields if field.default is dataclasses.MISSING}
    if unknown := sorted(set(raw) - {field.name for field in fields}):
        raise ArtifactError(f"{place}: unknown key {', '.join(unknown)}")
    if missing := sorted(required - set(raw)):
        raise ArtifactError(f"{place}: missing key {', '.join(missing)}")
    for name, value in raw.items():
        if type(value) is not hints[name]:
            raise ArtifactError(f"{place}.{name}: got {value!r:.80}, expected {hints[name].__name__}")
    try:
        return kind(**raw)
    except ValueError as error:
        raise ArtifactError(f"{place}: {error}") from error
