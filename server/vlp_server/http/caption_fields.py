"""The fields of POST /v1/caption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from vlp_spec.tasks import MAX_BEAMS, MAX_CAPTIONS, MAX_TOKENS, CaptionQuery, Decoding

from vlp_server.access.prices import queries_weight
from vlp_server.config.settings import LimitsConfig
from vlp_server.core.call_checks import check_text
from vlp_server.http.fields import CallFields
from vlp_server.http.picture_fields import PictureField
from vlp_server.http.picture_request import CallShape
from vlp_server.intake.texts import check_model

_LEFT_OUT = "the model's own number where left out"


class CaptionFields(CallFields):
    """The fields of POST /v1/caption beside the picture."""

    prompt: Annotated[
        str | None, Field(description="How the text begins; the model's own beginning where left out or empty.")
    ] = None
    max_tokens: Annotated[
        int | None,
        Field(
            description=f"Longest text, the prompt not counted, 1 to {MAX_TOKENS}; {_LEFT_OUT}.",
            json_schema_extra={"minimum": 1, "maximum": MAX_TOKENS},
        ),
    ] = None
    min_tokens: Annotated[
        int | None,
        Field(
            description=f"Shortest text, likewise, 0 to `max_tokens`; {_LEFT_OUT}.",
            json_schema_extra={"minimum": 0, "maximum": MAX_TOKENS},
        ),
    ] = None
    num_beams: Annotated[
        int | None,
        Field(
            description=f"Texts that are kept side by side, 1 to {MAX_BEAMS}; 1 takes the likeliest token at each "
            f"step; {_LEFT_OUT}.",
            json_schema_extra={"minimum": 1, "maximum": MAX_BEAMS},
        ),
    ] = None
    num_captions: Annotated[
        int,
        Field(
            description=f"How many captions to return, 1 to {MAX_CAPTIONS}; at least as many beams are needed, and "
            "taken where `num_beams` is left out, unless tokens are drawn.",
            json_schema_extra={"minimum": 1, "maximum": MAX_CAPTIONS},
        ),
    ] = 1
    length_penalty: Annotated[
        float | None,
        Field(
            description=f"Above 0 long texts win among beams, below 0 short ones, -5 to 5; {_LEFT_OUT}.",
            json_schema_extra={"minimum": -5, "maximum": 5},
        ),
    ] = None
    temperature: Annotated[
        float,
        Field(
            description="0 to 5; above 0 tokens are drawn by chance, the more freely the higher.",
            json_schema_extra={"minimum": 0, "maximum": 5},
        ),
    ] = 0.0
    top_p: Annotated[
        float,
        Field(
            description="Draw among the likeliest tokens that have so much of the probability, above 0 to 1.",
            json_schema_extra={"exclusiveMinimum": 0, "maximum": 1},
        ),
    ] = 1.0
    seed: Annotated[
        int | None,
        Field(
            description="Of the drawing, 0 to 2**63 - 1: the same seed draws the same text.",
            json_schema_extra={"minimum": 0, "maximum": 2**63 - 1},
        ),
    ] = None
    stream: Annotated[
        bool,
        Field(
            description="Send server-sent events: words as they are written, then the whole answer. With several "
            "beams or captions nothing is certain before the end, so the words come at once there."
        ),
    ] = False


class CaptionJson(CaptionFields, PictureField):
    """The JSON body of POST /v1/caption."""


@dataclass(frozen=True, slots=True)
class CaptionAsk:
    """What is asked of one picture.

    Attributes:
        model: None for the default model.
        stream: whether the words are wanted as they are written.
    """

    query: CaptionQuery
    model: str | None
    stream: bool


def ask_of(fields: CaptionFields, limits: LimitsConfig) -> CaptionAsk:
    """The query that checked fields make.

    Raises:
        InvalidArgumentError: a number out of its range, or two that exclude each other.
        TooLargeError: a longer prompt than the limits allow.
    """
    prompt = fields.prompt or ""
    check_model(fields.model)
    check_text("prompt", prompt, limits.text_chars)
    decoding = Decoding(
        max_tokens=fields.max_tokens,
        min_tokens=fields.min_tokens,
        num_beams=fields.num_beams,
        length_penalty=fields.length_penalty,
        temperature=fields.temperature,
        top_p=fields.top_p,
        seed=fields.seed,
    )
    return CaptionAsk(CaptionQuery(prompt, fields.num_captions, decoding), fields.model, fields.stream)


CAPTION_CALL = CallShape(
    CaptionFields, CaptionJson, ask_of, weigh=lambda ask, pictures: queries_weight([ask.query], pictures)
)
