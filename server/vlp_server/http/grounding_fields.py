"""The fields of POST /v1/grounding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from vlp_spec.tasks import MAX_TOP_K, GroundingQuery

from vlp_server.access.prices import queries_weight
from vlp_server.config.settings import LimitsConfig
from vlp_server.http.fields import CallFields
from vlp_server.http.picture_fields import PictureOrRegionsFields
from vlp_server.http.picture_request import CallShape
from vlp_server.http.text_queries import TextsAsk, texts_ask

DEFAULT_TOP_K = 5


class GroundingFields(CallFields):
    """The fields of POST /v1/grounding beside the picture."""

    PLURALS: ClassVar[Mapping[str, str]] = {"phrase": "phrases"}

    phrase: Annotated[str | None, Field(description="What to find in the picture, such as 'the dog on the left'.")] = (
        None
    )
    phrases: Annotated[
        list[str] | None, Field(description="Several phrases about the same picture, in place of `phrase`.")
    ] = None
    top_k: Annotated[
        int,
        Field(
            description=f"How many boxes to return for a phrase, 1 to {MAX_TOP_K}.",
            json_schema_extra={"minimum": 1, "maximum": MAX_TOP_K},
        ),
    ] = DEFAULT_TOP_K


class GroundingJson(GroundingFields, PictureOrRegionsFields):
    """The JSON body of POST /v1/grounding."""


def ask_of(fields: GroundingFields, limits: LimitsConfig) -> TextsAsk[GroundingQuery]:
    """The queries that checked fields make; errors as `texts_ask`."""
    return texts_ask(
        fields,
        lambda phrase: GroundingQuery(phrase, fields.top_k),
        max_texts=limits.texts,
        max_chars=limits.text_chars,
    )


GROUNDING_CALL = CallShape(
    GroundingFields,
    GroundingJson,
    ask_of,
    takes_regions=True,
    weigh=lambda ask, pictures: queries_weight(ask.queries, pictures),
)
