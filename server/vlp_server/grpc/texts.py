"""Texts that are asked about the same pictures -> the queries of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from vlp_spec.errors import InvalidArgumentError

from vlp_server.core.call_checks import check_texts
from vlp_server.intake.texts import check_model

Q = TypeVar("Q")


def model_of(name: str) -> str | None:
    """The model of a call; None where its field is empty, for the default one.

    Raises:
        InvalidArgumentError, TooLargeError: a name that no model can have.
    """
    if not name:
        return None
    check_model(name)
    return name


def queries_of(
    name: str, texts: Sequence[str], make: Callable[[str], Q], *, max_texts: int, max_chars: int
) -> tuple[Q, ...]:
    """The queries that texts make.

    Args:
        name: of the field.
        texts: as they were sent.
        make: a text -> a query; raises InvalidArgumentError where it is none.
        max_texts: in a call.
        max_chars: of one text.

    Raises:
        InvalidArgumentError: no text, or an empty one.
        TooLargeError: more or longer texts than the limits allow.
    """
    if not texts:
        raise InvalidArgumentError(f"{name}: an empty list; give at least one", field=name)
    check_texts(name, texts, max_texts, max_chars)
    queries = []
    for index, text in enumerate(texts):
        if not text.strip():
            place = f"{name}[{index}]"
            raise InvalidArgumentError(f"{place}: an empty text", field=place)
        queries.append(make(text))
    return tuple(queries)
