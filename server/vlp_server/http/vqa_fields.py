"""The fields of POST /v1/vqa."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from vlp_spec.tasks import MAX_TOP_K, VqaQuery

from vlp_server.access.prices import queries_weight
from vlp_server.config.settings import LimitsConfig
from vlp_server.core.call_checks import check_texts
from vlp_server.http.fields import CallFields
from vlp_server.http.picture_fields import PictureOrRegionsFields
from vlp_server.http.picture_request import CallShape
from vlp_server.http.text_queries import TextsAsk, texts_ask

DEFAULT_TOP_K = 5


class VqaFields(CallFields):
    """The fields of POST /v1/vqa beside the picture."""

    PLURALS: ClassVar[Mapping[str, str]] = {"question": "questions"}

    question: Annotated[str | None, Field(description="A question about the picture.")] = None
    questions: Annotated[
        list[str] | None, Field(description="Several questions about the same picture, in place of `question`.")
    ] = None
    top_k: Annotated[
        int,
        Field(
            description=f"How many answers to return for a question, 1 to {MAX_TOP_K}.",
            json_schema_extra={"minimum": 1, "maximum": MAX_TOP_K},
        ),
    ] = DEFAULT_TOP_K
    answers: Annotated[
        list[str] | None,
        Field(
            description="A closed list of answers to choose among. A model that chooses among its own must know each; "
            "one that writes its answers takes any."
        ),
    ] = None


class VqaJson(VqaFields, PictureOrRegionsFields):
    """The JSON body of POST /v1/vqa."""


def ask_of(fields: VqaFields, limits: LimitsConfig) -> TextsAsk[VqaQuery]:
    """The queries that checked fields make.

    Raises:
        InvalidArgumentError: no question, both forms of it, an empty one, or a value out of range.
        TooLargeError: more or longer texts than the limits allow.
    """
    check_texts("answers", fields.answers or (), limits.answers, limits.answer_chars)
    candidates = tuple(fields.answers) if fields.answers is not None else None
    return texts_ask(
        fields,
        lambda question: VqaQuery(question, fields.top_k, candidates),
        max_texts=limits.questions,
        max_chars=limits.question_chars,
    )


VQA_CALL = CallShape(
    VqaFields, VqaJson, ask_of, takes_regions=True, weigh=lambda ask, pictures: queries_weight(ask.queries, pictures)
)
