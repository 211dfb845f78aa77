"""The fields of POST /v1/entailment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from vlp_spec.tasks import EntailmentQuery

from vlp_server.access.prices import queries_weight
from vlp_server.config.settings import LimitsConfig
from vlp_server.http.fields import CallFields
from vlp_server.http.picture_fields import PictureOrRegionsFields
from vlp_server.http.picture_request import CallShape
from vlp_server.http.text_queries import TextsAsk, texts_ask


class EntailmentFields(CallFields):
    """The fields of POST /v1/entailment beside the picture."""

    PLURALS: ClassVar[Mapping[str, str]] = {"hypothesis": "hypotheses"}

    hypothesis: Annotated[str | None, Field(description="What may or may not follow from the picture.")] = None
    hypotheses: Annotated[
        list[str] | None, Field(description="Several hypotheses about the same picture, in place of `hypothesis`.")
    ] = None


class EntailmentJson(EntailmentFields, PictureOrRegionsFields):
    """The JSON body of POST /v1/entailment."""


def ask_of(fields: EntailmentFields, limits: LimitsConfig) -> TextsAsk[EntailmentQuery]:
    """The queries that checked fields make; errors as `texts_ask`."""
    return texts_ask(fields, EntailmentQuery, max_texts=limits.texts, max_chars=limits.text_chars)


ENTAILMENT_CALL = CallShape(
    EntailmentFields,
    EntailmentJson,
    ask_of,
    takes_regions=True,
    weigh=lambda ask, pictures: queries_weight(ask.queries, pictures),
)
