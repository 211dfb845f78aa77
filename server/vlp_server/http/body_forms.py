"""The three ways to send pictures with their fields: as a form, as JSON, and as a picture with a query string."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from vlp_spec.errors import InvalidArgumentError, UnsupportedMediaError

from vlp_server.http.body import BodyStream
from vlp_server.http.json_body import is_json, media_type_of, parse_body, refuse_query
from vlp_server.http.multipart import Part, read_multipart

_MAX_FIELD_BYTES = 1024 * 1024
J = TypeVar("J", bound=BaseModel)
T = TypeVar("T")
Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class BodyForms(Generic[J, T]):
    """What is made of each of them.

    Attributes:
        json: what a JSON body holds.
        of_json: such a body -> the call.
        of_pictures: the encoded pictures, in their order, and the text fields beside them -> the call.
        max_parts: of a form.
        form: what a form holds, for the message to who sends something else.
        query: what stands in the query beside a bare picture, likewise.
    """

    json: type[J]
    of_json: Callable[[J], Awaitable[T]]
    of_pictures: Callable[[list[bytes], Pairs], T]
    max_parts: int
    form: str
    query: str


async def read_body(request: Request, body: BodyStream, forms: BodyForms[J, T]) -> T:
    """Read a call, whichever way it was sent.

    Raises:
        UnsupportedMediaError: in none of the three.
        RequestError: of any other kind; DeadlineError or ProblemError as `BodyStream.chunks`.
    """
    media_type = media_type_of(request)
    if media_type.startswith("image/"):
        return forms.of_pictures([await body.read()], request.query_params.multi_items())
    if is_json(media_type):
        refuse_query(request)
        return await forms.of_json(await parse_body(await body.read(), forms.json))
    if media_type == "multipart/form-data":
        refuse_query(request)
        parts = await read_multipart(
            request.headers["content-type"],
            body.chunks(),
            max_parts=forms.max_parts,
            max_field_bytes=_MAX_FIELD_BYTES,
        )
        return forms.of_pictures(*_split(parts))
    raise UnsupportedMediaError(
        f"Content-Type: got {media_type or 'none'!r:.80}, expected multipart/form-data with {forms.form}, "
        f"application/json, or image/... with {forms.query} in the query"
    )


def _split(parts: Sequence[Part]) -> tuple[list[bytes], Pairs]:
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
