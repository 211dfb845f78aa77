"""The fields of POST /v1/reasoning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from vlp_spec.tasks import ReasoningQuery

from vlp_server.access.prices import queries_weight
from vlp_server.config.settings import LimitsConfig
from vlp_server.http.fields import CallFields
from vlp_server.http.picture_fields import PicturePairFields
from vlp_server.http.picture_request import CallShape
from vlp_server.http.text_queries import TextsAsk, texts_ask


class ReasoningFields(CallFields):
    """The fields of POST /v1/reasoning beside the two pictures."""

    PLURALS: ClassVar[Mapping[str, str]] = {"statement": "statements"}

    statement: Annotated[str | None, Field(description="What may be true or false of the two pictures.")] = None
    statements: Annotated[
        list[str] | None, Field(description="Several statements about the same pictures, in place of `statement`.")
    ] = None


class ReasoningJson(ReasoningFields, PicturePairFields):
    """The JSON body of POST /v1/reasoning."""


def ask_of(fields: ReasoningFields, limits: LimitsConfig) -> TextsAsk[ReasoningQuery]:
    """The queries that checked fields make; errors as `texts_ask`."""
    return texts_ask(fields, ReasoningQuery, max_texts=limits.texts, max_chars=limits.text_chars)


REASONING_CALL = CallShape(
    ReasoningFields,
    ReasoningJson,
    ask_of,
    pictures=2,
    takes_regions=True,
    weigh=lambda ask, pictures: queries_weight(ask.queries, pictures),
)
