"""What the calls of all tasks share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")
Texts = list[str] | tuple[str, ...]


def one_or_list(one: str, several: str, texts: str | Texts) -> dict[str, Any]:
    """The field that holds one text, or the one that holds a list."""
    return {one: texts} if isinstance(texts, str) else {several: list(texts)}


def listed(name: str, values: Iterable[T]) -> list[T]:
    """A list of what is given.

    Args:
        name: of the argument.
        values: several.

    Raises:
        TypeError: one text, which would be taken for a list of letters.
    """
    if isinstance(values, str | bytes | bytearray):
        raise TypeError(f"{name}: got one {type(values).__name__}, expected a list")
    return list(values)


def with_model(fields: dict[str, Any], model: str | None) -> dict[str, Any]:
    """Fields, and the model where one is named."""
    return fields if model is None else {**fields, "model": model}
