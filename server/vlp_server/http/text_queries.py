"""One text or several that are asked about the same pictures -> the queries of a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from vlp_spec.errors import InvalidArgumentError

from vlp_server.core.call_checks import check_texts
from vlp_server.http.fields import CallFields, one_or_several
from vlp_server.intake.texts import check_model, placed

Q = TypeVar("Q")


@dataclass(frozen=True, slots=True)
class TextsAsk(Generic[Q]):
    """What is asked.

    Attributes:
        queries: at least one.
        model: None for the default model.
        listed: whether the texts came as a list, so that the answer is one too.
    """

    queries: tuple[Q, ...]
    model: str | None
    listed: bool


def texts_ask(fields: CallFields, make: Callable[[str], Q], *, max_texts: int, max_chars: int) -> TextsAsk[Q]:
    """What checked fields ask.

    Args:
        fields: the first of its PLURALS names the field of one text, and that of several.
        make: a text -> a query; raises InvalidArgumentError of the first field where it is none.
        max_texts: in a call.
        max_chars: of one text.

    Raises:
        InvalidArgumentError: no text, both forms of it, or an empty one.
        TooLargeError: more or longer texts than the limits allow.
    """
    one, several = next(iter(fields.PLURALS.items()))
    texts = one_or_several(one, getattr(fields, one), several, getattr(fields, several))
    if texts is None:
        texts = [""]
    if not texts:
        raise InvalidArgumentError(f"{several}: an empty list; give at least one", field=several)
    check_model(fields.model)
    check_texts(several if len(texts) > 1 else one, texts, max_texts, max_chars)
    listed = getattr(fields, several) is not None
    queries = []
    for index, text in enumerate(texts):
        try:
            queries.append(make(text))
        except InvalidArgumentError as error:
            if not listed or error.field != one:
                raise
            raise placed(error, one, f"{several}[{index}]") from None
    return TextsAsk(tuple(queries), fields.model, listed)
