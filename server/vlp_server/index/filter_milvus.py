"""Filters as Milvus expressions, over a JSON field made for them.

Milvus compares JSON values across types in its own ways (and milvus-lite in others). So an item's metadata is also kept
as `facets`: one flat object, whose keys say type and path ("n:size", "s:camera.lens", "b:shiny", and "e:size" for
anything that is there). Every key then holds values of one type, and a condition is true or false as `filters` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlp_server.index.filters import PATH_PART, SIGNS, Compares, Equals, Every, Exists, Filter, Negation, Scalar, Some


def facets_of(metadata: Mapping[str, Any]) -> dict[str, Scalar]:
    """The flat object that expressions look at; fields that no filter can name are left out."""
    facets: dict[str, Scalar] = {}
    _collect(metadata, "", facets)
    return facets


def filter_to_expression(condition: Filter) -> str:
    """A Milvus expression on the JSON field `facets`. Texts are written as quoted and escaped literals."""
    match condition:
        case Every(parts):
            return _joined(parts, " and ")
        case Some(parts):
            return _joined(parts, " or ")
        case Negation(part):
            return f"(not {filter_to_expression(part)})"
        case Exists(path):
            return f"(exists {_facet('e', path)})"
        case Compares(path, order, value):
            facet = _facet(_letter(value), path)
            return f"(exists {facet} and {facet} {SIGNS[order]} {_literal(value)})"
        case Equals(path, values):
            # `in` takes JSON paths on a cluster but not in milvus-lite.
            options = [
                f"(exists {facet} and {facet} == {_literal(value)})"
                for value in values
                for facet in (_facet(_letter(value), path),)
            ]
            return "(" + " or ".join(options) + ")"


def _collect(members: Mapping[str, Any], prefix: str, facets: dict[str, Scalar]) -> None:
    for key, value in members.items():
        if value is None or not PATH_PART.fullmatch(key):
            continue
        facets[f"e:{prefix}{key}"] = True
        if isinstance(value, Mapping):
            _collect(value, f"{prefix}{key}.", facets)
        elif isinstance(value, str | bool | int | float):
            facets[f"{_letter(value)}:{prefix}{key}"] = value


def _joined(parts: Sequence[Filter], word: str) -> str:
    return "(" + word.join(filter_to_expression(part) for part in parts) + ")"


def _letter(value: Scalar) -> str:
    if isinstance(value, bool):
        return "b"
    return "s" if isinstance(value, str) else "n"


def _facet(letter: str, path: tuple[str, ...]) -> str:
    return f"facets[{quoted(letter + ':' + '.'.join(path))}]"


def _literal(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return quoted(value) if isinstance(value, str) else repr(value)


def quoted(text: str) -> str:
    """A text as a literal of the expression language; it has no control characters (filters and ids are checked)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
