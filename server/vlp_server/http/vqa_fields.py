"""The fields of a question call, from JSON, a form or a query string: one strict model checks all three."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from vlp_spec.errors import InvalidArgumentError, TooLargeError
from vlp_spec.tasks import MAX_TOP_K, VqaQuery

from vlp_server.config.settings import LimitsConfig

DEFAULT_TOP_K = 5
_MAX_MODEL_CHARS = 300
_LISTS = ("questions", "answers")
_INTEGER = re.compile(r"[+-]?[0-9]{1,9}")


F = TypeVar("F", bound="VqaFields")


class VqaFields(BaseModel):
    """The fields of POST /v1/vqa beside the picture."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: Annotated[str | None, Field(description="A question about the picture.")] = None
    questions: Annotated[
        list[str] | None, Field(description="Several questions about the same picture, in place of `question`.")
    ] = None
    top_k: Annotated[int, Field(description=f"How many answers to return for a question, 1 to {MAX_TOP_K}.")] = (
        DEFAULT_TOP_K
    )
    answers: Annotated[
        list[str] | None, Field(description="A closed list of answers to choose among; the model must know each.")
    ] = None
    model: Annotated[
        str | None, Field(description="name, name@version or name@alias; the default model where left out.")
    ] = None


class VqaJson(VqaFields):
    """The JSON body of POST /v1/vqa."""

    image: Annotated[
        str,
        Field(description="The picture: base64, a data URI, or, where the operator allows it, an http(s) URL."),
    ]


@dataclass(frozen=True, slots=True)
class VqaAsk:
    """What is asked of one picture.

    Attributes:
        queries: at least one.
        model: None for the default model.
        listed: whether the questions came as a list, so that the answer is one too.
    """

    queries: tuple[VqaQuery, ...]
    model: str | None
    listed: bool


def check_fields(kind: type[F], values: dict[str, Any]) -> F:
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


def fields_from_pairs(pairs: Iterable[tuple[str, str]]) -> VqaFields:
    """Check the fields of a form or a query string, where all is text and a list is a repeated name or a JSON list.

    Raises:
        InvalidArgumentError: as `check_fields`; or a field is given twice that holds one value.
    """
    gathered: dict[str, list[str]] = {}
    for name, text in pairs:
        gathered.setdefault(name, []).append(text)
    if "question" in gathered and "questions" in gathered:
        raise _both_forms()
    values: dict[str, Any] = {}
    for name, texts in gathered.items():
        if name in _LISTS:
            values[name] = _list_of(name, texts)
        elif name == "question" and len(texts) > 1:
            values["questions"] = texts
        elif len(texts) > 1:
            raise InvalidArgumentError(f"{name}: given {len(texts)} times, expected once", field=name)
        elif name == "top_k" and _INTEGER.fullmatch(texts[0]):
            values[name] = int(texts[0])
        else:
            values[name] = texts[0]
    return check_fields(VqaFields, values)


def ask_of(fields: VqaFields, limits: LimitsConfig) -> VqaAsk:
    """The queries that checked fields make.

    Raises:
        InvalidArgumentError: no question, both forms of it, an empty one, or a value out of range.
        TooLargeError: more or longer texts than the limits allow.
    """
    if fields.question is not None and fields.questions is not None:
        raise _both_forms()
    questions = fields.questions if fields.questions is not None else [fields.question or ""]
    if not questions:
        raise InvalidArgumentError("questions: an empty list; ask something about the picture", field="questions")
    if fields.model is not None and not fields.model.strip():
        raise InvalidArgumentError("model: empty; leave it out for the default model", field="model")
    if fields.model is not None:
        _check_text("model", fields.model, _MAX_MODEL_CHARS)
    _check_count("questions", len(questions), limits.questions)
    _check_count("answers", len(fields.answers or ()), limits.answers)
    for question in questions:
        _check_text("question", question, limits.question_chars)
    for answer in fields.answers or ():
        _check_text("answers", answer, limits.answer_chars)
    candidates = tuple(fields.answers) if fields.answers is not None else None
    listed = fields.questions is not None
    queries = []
    for index, question in enumerate(questions):
        try:
            queries.append(VqaQuery(question, fields.top_k, candidates))
        except InvalidArgumentError as error:
            if not listed or error.field != "question":
                raise
            place = f"questions[{index}]"
            raise InvalidArgumentError(error.message.replace("question", place, 1), field=place) from None
    return VqaAsk(tuple(queries), fields.model, listed)


def _list_of(name: str, texts: list[str]) -> list[Any]:
    """A repeated field, or one field that holds a JSON list."""
    if len(texts) > 1 or not texts[0].lstrip().startswith("["):
        return list(texts)
    try:
        parsed = json.loads(texts[0])
    except (ValueError, RecursionError):
        raise InvalidArgumentError(f"{name}: starts like a JSON list and is none", field=name) from None
    return list(parsed)


def _fault_text(kind: type[VqaFields], fault: str, place: tuple[int | str, ...], message: str) -> str:
    name = "".join(f"[{part}]" if isinstance(part, int) else str(part) for part in place) or "body"
    if fault == "extra_forbidden":
        return f"unknown field {name!r:.80}; expected {', '.join(sorted(kind.model_fields))}"
    if fault == "missing":
        return f"{name}: missing"
    return f"{name}: {message[:1].lower()}{message[1:]}"


def _both_forms() -> InvalidArgumentError:
    return InvalidArgumentError("question, questions: both are given; give one of them", field="questions")


def _check_count(name: str, count: int, limit: int) -> None:
    if count > limit:
        raise TooLargeError(f"{name}: got {count}, at most {limit} in one call; send several calls")


def _check_text(name: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise TooLargeError(f"{name}: {len(text)} characters, at most {limit} are read; shorten it")
    if any("\ud800" <= char <= "\udfff" for char in text):
        # JSON can spell half of a surrogate pair; nothing behind this could write it as UTF-8.
        raise InvalidArgumentError(f"{name}: half of a surrogate pair is not text", field=name)
