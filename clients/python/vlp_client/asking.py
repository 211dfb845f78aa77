"""What the calls of all tasks share."""

from __future__ import annotations

from typing import Any

Texts = list[str] | tuple[str, ...]


def one_or_list(one: str, several: str, texts: str | Texts) -> dict[str, Any]:
    """The field that holds one text, or the one that holds a list."""
    return {one: texts} if isinstance(texts, str) else {several: list(texts)}


def with_model(fields: dict[str, Any], model: str | None) -> dict[str, Any]:
    """Fields, and the model where one is named."""
    return fields if model is None else {**fields, "model": model}
