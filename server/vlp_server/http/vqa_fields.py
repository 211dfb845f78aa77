"""The fields of POST /v1/vqa."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import MAX_TOP_K, VqaQuery

from vlp_server.config.settings import LimitsConfig
from vlp_server.http.fields import CallFields, PictureField, check_model, check_texts, one_or_several
from vlp_server.http.picture_request import CallShape

DEFAULT_TOP_K = 5


class VqaFields(CallFields):
    """The fields of POST /v1/vqa beside the picture."""

    PLURALS: ClassVar[Mapping[str, str]] = {"question": "questions"}

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


class VqaJson(VqaFields, PictureField):
    """The JSON body of POST /v1/vqa."""


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


def ask_of(fields: VqaFields, limits: LimitsConfig) -> VqaAsk:
    """The queries that checked fields make.

    Raises:
        InvalidArgumentError: no question, both forms of it, an empty one, or a value out of range.
        TooLargeError: more or longer texts than the limits allow.
    """
    questions = one_or_several("question", fields.question, "questions", fields.questions)
    if questions is None:
        questions = [""]
    if not questions:
        raise InvalidArgumentError("questions: an empty list; ask something about the picture", field="questions")
    check_model(fields.model)
    check_texts("questions" if len(questions) > 1 else "question", questions, limits.questions, limits.question_chars)
    check_texts("answers", fields.answers or (), limits.answers, limits.answer_chars)
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


VQA_CALL = CallShape(VqaFields, VqaJson, ask_of)
