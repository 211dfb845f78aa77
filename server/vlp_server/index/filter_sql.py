"""Filters as SQL over a column of JSON text. Values and paths are bound; only fixed words are put together."""

from __future__ import annotations

from collections.abc import Sequence

from vlp_server.index.filters import SIGNS, Compares, Equals, Every, Exists, Filter, Negation, Scalar, Some

# `metadata` is the column. json_type tells true from 1; comparing with it first keeps every condition two-valued.
_TYPES = {"text": "'text'", "number": "'integer','real'"}


def filter_to_sql(condition: Filter) -> tuple[str, list[Scalar]]:
    """An SQL condition on the column `metadata`, which is 1 or 0 for each row, and the values to bind to it."""
    bound: list[Scalar] = []
    return _sql(condition, bound), bound


def _sql(condition: Filter, bound: list[Scalar]) -> str:
    match condition:
        case Every(parts):
            return _joined(parts, " AND ", bound)
        case Some(parts):
            return _joined(parts, " OR ", bound)
        case Negation(part):
            return f"(NOT {_sql(part, bound)})"
        case Exists(path):
            bound.append(_json_path(path))
            return "(coalesce(json_type(metadata, ?), 'null') <> 'null')"
        case Compares(path, order, value):
            kind = "text" if isinstance(value, str) else "number"
            bound += [_json_path(path), _json_path(path), _bindable(value)]
            return (
                f"(coalesce(json_type(metadata, ?), 'null') IN ({_TYPES[kind]}) "
                f"AND json_extract(metadata, ?) {SIGNS[order]} {_place(value)})"
            )
        case Equals(path, values):
            return _equals_sql(path, values, bound)


def _joined(parts: Sequence[Filter], word: str, bound: list[Scalar]) -> str:
    return "(" + word.join(_sql(part, bound) for part in parts) + ")"


def _equals_sql(path: tuple[str, ...], values: Sequence[Scalar], bound: list[Scalar]) -> str:
    """Values of one type share a look at the column; with several types one of them must hold."""
    options = []
    flags = [value for value in values if isinstance(value, bool)]
    texts = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if flags:
        bound.append(_json_path(path))
        names = sorted({"'true'" if flag else "'false'" for flag in flags})
        options.append(f"coalesce(json_type(metadata, ?), 'null') IN ({','.join(names)})")
    for kind, same in (("text", texts), ("number", numbers)):
        if same:
            bound += [_json_path(path), _json_path(path), *map(_bindable, same)]
            options.append(
                f"(coalesce(json_type(metadata, ?), 'null') IN ({_TYPES[kind]}) "
                f"AND json_extract(metadata, ?) IN ({','.join(map(_place, same))}))"
            )
    return "(" + " OR ".join(options) + ")"


def _place(value: Scalar) -> str:
    return "json_extract(?, '$')" if isinstance(value, float) else "?"


def _bindable(value: Scalar) -> Scalar:
    """Fractions go through the same reader of numbers as the column: it may be off by a bit, and must be so twice."""
    return repr(value) if isinstance(value, float) else value


def _json_path(path: tuple[str, ...]) -> str:
    return "$" + "".join(f'."{part}"' for part in path)
