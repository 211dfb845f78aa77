"""The fields of a call, from JSON, a form or a query string: one strict model of a task checks all three."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from vlp_spec.errors import InvalidArgumentError

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
# Neither "nan" nor "inf", which Python would read.
_NUMBER = re.compile(r"[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_BOOLS = {"true": True, "false": False}

B = TypeVar("B", bound=BaseModel)


class StrictFields(BaseModel):
    """Fields of a call; an unknown one, or one of a wrong type, is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class CallFields(StrictFields):
    """What the calls of all tasks have beside the picture.

    Attributes:
        PLURALS: field of one value -> the field that holds several; a form may repeat the first in place of the second.
    """

    PLURALS: ClassVar[Mapping[str, str]] = {}

    model: Annotated[
        str | None,
        Field(
            description="name, name@version or name@alias; the default model of the task where left out.",
            json_schema_extra={"minLength": 1},
        ),
    ] = None


C = TypeVar("C", bound=CallFields)


def check_fields(kind: type[B], values: Mapping[str, Any]) -> B:
    """Check values against a model of fields.

    Raises:
        InvalidArgumentError: names the first field at fault, and tells up to three faults.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        told = [_fault_text(kind, fault["type"], fault["loc"], fault["msg"]) for fault in faults[:3]]
        place = str(faults[0]["loc"][0]) if faults[0]["loc"] else None
        raise InvalidArgumentError("; ".join(told), field=place) from None


def fields_from_pairs(kind: type[C], pairs: Iterable[tuple[str, str]]) -> C:
    """Check the fields of a form or a query string, where all is text: a list is a repeated name or a JSON list, an
    object is JSON.

    Raises:
        InvalidArgumentError: as `check_fields`; or a field is given twice that holds one value.
    """
    gathered: dict[str, list[str]] = {}
    for name, text in pairs:
        gathered.setdefault(name, []).append(text)
    for one, several in kind.PLURALS.items():
        if one in gathered and several in gathered:
            raise both_forms(one, several)
    values: dict[str, Any] = {}
    for name, texts in gathered.items():
        form = _form_of(kind, name)
        if form is list and not (len(texts) == 1 and _may_be_text(kind, name, texts[0])):
            values[name] = _list_of(name, texts)
        elif name in kind.PLURALS and len(texts) > 1:
            values[kind.PLURALS[name]] = texts
        elif len(texts) > 1:
            raise InvalidArgumentError(f"{name}: given {len(texts)} times, expected once", field=name)
        else:
            values[name] = _value_of(form, name, texts[0])
    return check_fields(kind, values)


def one_or_several(name: str, one: str | None, plural: str, several: list[str] | None) -> list[str] | None:
    """The texts of a field that may hold one or several; None where neither is given.

    Raises:
        InvalidArgumentError: both are given.
    """
    if one is not None and several is not None:
        raise both_forms(name, plural)
    return several if one is None else [one]


def both_forms(one: str, several: str) -> InvalidArgumentError:
    """The fault of a call that gives a field in both of its forms."""
    return InvalidArgumentError(f"{one}, {several}: both are given; give one of them", field=several)


def _form_of(kind: type[BaseModel], name: str) -> Any:
    """What a field holds: list, int, float, bool, dict, or str for all that a text can stand for."""
    field = kind.model_fields.get(name)
    if field is None:
        return str
    forms = [typing.get_origin(option) or option for option in _options(field.annotation)]
    for form in (list, int, float, bool, dict):
        if form in forms:
            return form
    objects = [form for form in forms if isinstance(form, type) and issubclass(form, BaseModel)]
    return dict if objects else str


def _may_be_text(kind: type[BaseModel], name: str, text: str) -> bool:
    """Whether a field that holds a list or a text is given as a text."""
    return str in _options(kind.model_fields[name].annotation) and not text.lstrip().startswith("[")


def _options(annotation: Any) -> Iterator[Any]:
    """The types of a union, whatever is nested and annotated in it."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from _options(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for option in typing.get_args(annotation):
            yield from _options(option)
    else:
        yield annotation


def _value_of(form: Any, name: str, text: str) -> Any:
    """A text as what its field holds; one that is not is left to the model of the fields, which says so."""
    if form is int and _INTEGER.fullmatch(text):
        return int(text)
    if form is float and _NUMBER.fullmatch(text):
        return float(text)
    if form is bool:
        return _BOOLS.get(text.lower(), text)
    if form is dict:
        return _json_of(name, text, "object")
    return text


def _list_of(name: str, texts: list[str]) -> list[Any]:
    """A repeated field, or one field that holds a JSON list."""
    if len(texts) > 1 or not texts[0].lstrip().startswith("["):
        return list(texts)
    return list(_json_of(name, texts[0], "list"))


def _json_of(name: str, text: str, what: str) -> Any:
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidArgumentError(f"{name}: starts like a JSON {what} and is none", field=name) from None


def refuse_constant(name: str) -> Any:
    """NaN and the infinities, which Python's JSON reader would take."""
    raise ValueError(f"{name} is not JSON")


def _fault_text(kind: type[BaseModel], fault: str, place: tuple[int | str, ...], message: str) -> str:
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".") or "body"
    if fault == "extra_forbidden":
        known = f"; expected {', '.join(sorted(kind.model_fields)) or 'none'}" if len(place) == 1 else ""
        return f"unknown field {name!r:.80}{known}"
    if fault == "missing":
        return f"{name}: missing"
    return f"{name}: {message[:1].lower()}{message[1:]}"
