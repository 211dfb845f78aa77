"""The body of POST /v1/embeddings -> texts and pictures, mixed as they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema
from vlp_spec.errors import InvalidArgumentError

from vlp_server.config.settings import LimitsConfig
from vlp_server.core.call_checks import check_count, check_text
from vlp_server.core.embed_flow import Source
from vlp_server.http.fields import StrictFields
from vlp_server.http.pictures import read_source
from vlp_server.intake.picture_source import PictureUrl
from vlp_server.intake.texts import check_model

_TEXT_ITEM = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_IMAGE_ITEM = {"type": "object", "properties": {"image": {"type": "string"}}, "required": ["image"]}
_ITEM = {"anyOf": [{"type": "string"}, _TEXT_ITEM, _IMAGE_ITEM]}


class EmbeddingsJson(StrictFields):
    """The JSON body of POST /v1/embeddings: OpenAI's, of which an input may also be a picture."""

    input: Annotated[
        Any,
        WithJsonSchema({"anyOf": [*_ITEM["anyOf"], {"type": "array", "items": _ITEM}]}),
        Field(
            description='A text, or {"text": ..} or {"image": ..} (base64, a data URI, or an http(s) URL where the '
            "operator allows it), or a list of these, mixed."
        ),
    ]
    model: Annotated[str | None, Field(description="The default encoder where left out.")] = None
    encoding_format: Annotated[Literal["float", "base64"], Field(description="base64: little-endian float32.")] = (
        "float"
    )
    dimensions: Annotated[
        int | None, Field(description="Shorter vectors, where the model was trained to allow them.")
    ] = None
    user: Annotated[str | None, Field(description="Taken and not used.")] = None


@dataclass(frozen=True, slots=True)
class EmbeddingsAsk:
    """What is to be embedded, and how the vectors are written.

    Attributes:
        items: texts and encoded pictures, or where these are to be fetched from.
    """

    items: list[Source | PictureUrl]
    model: str | None
    dimensions: int | None
    as_base64: bool


async def embeddings_ask(fields: EmbeddingsJson, limits: LimitsConfig) -> EmbeddingsAsk:
    """The items of a checked body.

    Raises:
        InvalidArgumentError: an item that is neither a text nor a picture; token ids.
        TooLargeError: more or longer ones than the limits allow.
        RequestError: a picture that cannot be read; see `pictures`.
    """
    given = fields.input if isinstance(fields.input, list) else [fields.input]
    if not given:
        raise InvalidArgumentError("input: an empty list; give at least one text or picture", field="input")
    check_count("input", len(given), limits.inputs)
    check_model(fields.model)
    items = [await _item(value, f"input[{index}]", limits) for index, value in enumerate(given)]
    return EmbeddingsAsk(items, fields.model, fields.dimensions, fields.encoding_format == "base64")


async def _item(value: Any, place: str, limits: LimitsConfig) -> Source | PictureUrl:
    if isinstance(value, dict) and len(value) == 1:
        if isinstance(picture := value.get("image"), str):
            return await read_source(picture)
        value = value.get("text", value)
    if isinstance(value, str):
        if not value.strip():
            raise InvalidArgumentError(f"{place}: an empty text", field="input")
        check_text("input", value, limits.text_chars)
        return value
    if isinstance(value, int | list):
        raise InvalidArgumentError(
            f"{place}: token ids are not taken, for each model has its own; send the text", field="input"
        )
    raise InvalidArgumentError(
        f'{place}: got {value!r:.60}, expected a text, {{"text": ..}} or {{"image": ..}}', field="input"
    )
