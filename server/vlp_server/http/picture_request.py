"""An HTTP request -> the picture and what is asked of it, for the three ways to send one. The same for every task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.requests import Request
from vlp_spec.errors import InvalidArgumentError, UnsupportedMediaError

from vlp_server.config.settings import LimitsConfig
from vlp_server.http.body import BodyStream
from vlp_server.http.fields import CallFields, fields_from_pairs
from vlp_server.http.json_body import is_json, media_type_of, parse_body, refuse_query
from vlp_server.http.multipart import Part, read_multipart
from vlp_server.http.pictures import PictureUrl, check_not_empty, read_source

MAX_FIELD_BYTES = 1024 * 1024

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class CallShape(Generic[A]):
    """What the calls of one task hold.

    Attributes:
        fields: beside the picture, as a form and a query string have them.
        json: the same with `image`, as a JSON body has them.
        ask: checked fields -> what is asked; refuses what is over a limit.
        needs_picture: whether a call without one is refused.
    """

    fields: type[CallFields]
    json: type[CallFields]
    ask: Callable[[Any, LimitsConfig], A]
    needs_picture: bool = True


async def read_picture_call(
    request: Request, body: BodyStream, shape: CallShape[A], limits: LimitsConfig
) -> tuple[bytes | PictureUrl, A]:
    """Read a call about one picture.

    Returns:
        the encoded picture, or where it is to be fetched from, and what is asked of it.

    Raises:
        RequestError: of any kind; DeadlineError or ProblemError as `BodyStream.chunks`.
    """
    picture, ask = await read_call(request, body, shape, limits)
    if picture is None:
        raise InvalidArgumentError("image: missing", field="image")
    return picture, ask


async def read_call(
    request: Request, body: BodyStream, shape: CallShape[A], limits: LimitsConfig
) -> tuple[bytes | PictureUrl | None, A]:
    """As `read_picture_call`, where the shape may do without a picture."""
    media_type = media_type_of(request)
    if is_json(media_type):
        refuse_query(request)
        fields = await parse_body(await body.read(), shape.json)
        ask = shape.ask(fields, limits)
        source: str | None = getattr(fields, "image", None)
        return None if source is None else await read_source(source), ask
    if media_type == "multipart/form-data":
        refuse_query(request)
        parts = await read_multipart(
            request.headers["content-type"],
            body.chunks(),
            max_parts=limits.multipart_parts,
            max_field_bytes=MAX_FIELD_BYTES,
        )
        return _from_parts(parts, shape, limits)
    if media_type.startswith("image/"):
        ask = shape.ask(fields_from_pairs(shape.fields, request.query_params.multi_items()), limits)
        return check_not_empty(await body.read()), ask
    raise UnsupportedMediaError(
        f"Content-Type: got {media_type or 'none'!r:.80}, expected multipart/form-data with a file field 'image', "
        "application/json, or image/... with the other fields in the query"
    )


def split_parts(parts: Sequence[Part]) -> tuple[list[bytes], list[tuple[str, str]]]:
    """The pictures of a form, in their order, and its other fields.

    Raises:
        InvalidArgumentError: a picture was sent as text, another field as a file, or a text is not UTF-8.
    """
    for part in parts:
        if part.is_file and part.name != "image":
            raise InvalidArgumentError(f"unknown file {part.name!r:.80}; the picture's field is 'image'", field="image")
        if part.name == "image" and not part.is_file:
            raise InvalidArgumentError("image: got text, expected a file; with curl: -F image=@FILE", field="image")
    pairs = [(part.name, part.text()) for part in parts if not part.is_file]
    return [part.content for part in parts if part.is_file], pairs


def _from_parts(parts: list[Part], shape: CallShape[A], limits: LimitsConfig) -> tuple[bytes | None, A]:
    pictures, pairs = split_parts(parts)
    if len(pictures) > 1 or (shape.needs_picture and not pictures):
        raise InvalidArgumentError(f"image: got {len(pictures)} of them, expected one file field", field="image")
    ask = shape.ask(fields_from_pairs(shape.fields, pairs), limits)
    return (check_not_empty(pictures[0]) if pictures else None), ask
