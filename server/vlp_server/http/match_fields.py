"""The fields of POST /v1/match."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import MatchQuery

from vlp_server.access.prices import queries_weight
from vlp_server.config.settings import LimitsConfig
from vlp_server.core.call_checks import check_texts
from vlp_server.http.fields import CallFields, one_or_several
from vlp_server.http.picture_fields import PictureOrRegionsFields
from vlp_server.http.picture_request import CallShape
from vlp_server.intake.texts import check_model


class MatchFields(CallFields):
    """The fields of POST /v1/match beside the picture."""

    PLURALS: ClassVar[Mapping[str, str]] = {"text": "texts"}

    text: Annotated[str | None, Field(description="A text that may or may not fit the picture.")] = None
    texts: Annotated[list[str] | None, Field(description="Several texts in place of `text`.")] = None


class MatchJson(MatchFields, PictureOrRegionsFields):
    """The JSON body of POST /v1/match."""


@dataclass(frozen=True, slots=True)
class MatchAsk:
    """What is asked of one picture; `model` None for the default model."""

    queries: tuple[MatchQuery, ...]
    model: str | None


def ask_of(fields: MatchFields, limits: LimitsConfig) -> MatchAsk:
    """The queries that checked fields make.

    Raises:
        InvalidArgumentError: no text, or an empty one.
        TooLargeError: more or longer texts than the limits allow.
    """
    texts = one_or_several("text", fields.text, "texts", fields.texts)
    if not texts:
        raise InvalidArgumentError("texts: missing; give the texts to hold against the picture", field="texts")
    check_model(fields.model)
    check_texts("texts", texts, limits.texts, limits.text_chars)
    queries = []
    for index, text in enumerate(texts):
        try:
            queries.append(MatchQuery(text))
        except InvalidArgumentError:
            place = f"texts[{index}]"
            raise InvalidArgumentError(f"{place}: empty; say something about the picture", field=place) from None
    return MatchAsk(tuple(queries), fields.model)


MATCH_CALL = CallShape(
    MatchFields,
    MatchJson,
    ask_of,
    takes_regions=True,
    weigh=lambda ask, pictures: queries_weight(ask.queries, pictures),
)
