"""An HTTP request -> the picture and what is asked of it, for the three ways to send one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request
from vlp_spec.errors import InvalidArgumentError, UnsupportedMediaError

from vlp_server.config.settings import LimitsConfig
from vlp_server.http.body import BodyStream
from vlp_server.http.multipart import Part, read_multipart
from vlp_server.http.pictures import PictureUrl, check_not_empty, decode_source, is_url
from vlp_server.http.vqa_fields import VqaAsk, VqaJson, ask_of, check_fields, fields_from_pairs

# Below this, parsing on the event loop costs less than a thread.
_INLINE_BYTES = 64 * 1024
_MAX_FIELD_BYTES = 1024 * 1024


async def read_vqa(request: Request, body: BodyStream, limits: LimitsConfig) -> tuple[bytes | PictureUrl, VqaAsk]:
    """Read a call of POST /v1/vqa.

    Returns:
        the encoded picture, or where it is to be fetched from, and the questions.

    Raises:
        RequestError: of any kind; DeadlineError or ProblemError as `BodyStream.chunks`.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        _refuse_query(request)
        return await _from_json(await body.read(), limits)
    if media_type == "multipart/form-data":
        _refuse_query(request)
        parts = await read_multipart(
            request.headers["content-type"],
            body.chunks(),
            max_parts=limits.multipart_parts,
            max_field_bytes=_MAX_FIELD_BYTES,
        )
        return _from_parts(parts, limits)
    if media_type.startswith("image/"):
        ask = ask_of(fields_from_pairs(request.query_params.multi_items()), limits)
        return check_not_empty(await body.read()), ask
    raise UnsupportedMediaError(
        f"Content-Type: got {media_type or 'none'!r:.80}, expected multipart/form-data with a file field 'image', "
        "application/json, or image/... with the other fields in the query"
    )


async def _from_json(body: bytes, limits: LimitsConfig) -> tuple[bytes | PictureUrl, VqaAsk]:
    fields = await asyncio.to_thread(_parse_json, body) if len(body) > _INLINE_BYTES else _parse_json(body)
    ask = ask_of(fields, limits)
    if is_url(fields.image):
        return PictureUrl(fields.image), ask
    if len(fields.image) > _INLINE_BYTES:
        picture = await asyncio.to_thread(decode_source, fields.image)
    else:
        picture = decode_source(fields.image)
    return check_not_empty(picture), ask


def _parse_json(body: bytes) -> VqaJson:
    try:
        values = json.loads(body, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"body: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise InvalidArgumentError(f"body: got a JSON {type(values).__name__}, expected an object")
    return check_fields(VqaJson, values)


def _from_parts(parts: list[Part], limits: LimitsConfig) -> tuple[bytes, VqaAsk]:
    pictures = [part for part in parts if part.name == "image"]
    if len(pictures) != 1:
        raise InvalidArgumentError(f"image: got {len(pictures)} of them, expected one file field", field="image")
    if not pictures[0].is_file:
        raise InvalidArgumentError("image: got text, expected a file; with curl: -F image=@FILE", field="image")
    fields = fields_from_pairs((part.name, part.text()) for part in parts if part.name != "image")
    ask = ask_of(fields, limits)
    return check_not_empty(pictures[0].content), ask


def _refuse_query(request: Request) -> None:
    """With a form or JSON the fields are in the body; one in the query would be forgotten without a word."""
    for name in request.query_params:
        raise InvalidArgumentError(
            f"unknown query parameter {name!r:.80}; with this content type all fields go into the body", field=name[:80]
        )


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("the same key twice in one object")
    return values


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
