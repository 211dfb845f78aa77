"""Every error of the tree, made and raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from vlp_spec import errors
from vlp_spec.errors import ConfigError, InternalError, StartupError, VlpError


def all_errors(root: type[VlpError] = VlpError) -> Iterator[type[VlpError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from all_errors(child)


def make_error(kind: type[VlpError]) -> VlpError:
    if issubclass(kind, InternalError):
        return kind(detail="a secret")
    if issubclass(kind, ConfigError):
        return kind(["a secret"])
    return kind("shown" if not issubclass(kind, StartupError) else "a secret", detail="a secret")


def raising(error: Exception) -> Callable[[], Any]:
    async def behave() -> None:
        raise error

    return behave
