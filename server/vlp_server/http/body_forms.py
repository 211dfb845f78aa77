"""The three ways to send pictures with their fields: as a form, as JSON, and as a picture with a query string."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from vlp_spec.errors import InvalidArgumentError, UnsupportedMediaError

from vlp_server.http.body import BodyStream
from vlp_server.http.json_body import is_json, media_type_of, parse_body, refuse_query
from vlp_server.http.multipart import Part, read_multipart

IMAGE = "image"
_MAX_FIELD_BYTES = 1024 * 1024
J = TypeVar("J", bound=BaseModel)
T = TypeVar("T")
Files = Mapping[str, list[bytes]]
"""A file field that is known -> its files, in their order; none where it was not sent."""
Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class BodyForms(Generic[J, T]):
    """What is made of each of them.

    Attributes:
        json: what a JSON body holds.
        of_json: such a body -> the call.
        of_files: the files, and the text fields beside them -> the call.
        max_parts: of a form.
        form: what a form holds, for the message to who sends something else.
        query: what stands in the query beside a bare picture, likewise; None where one bare picture is not enough.
        files: names of the file fields.
    """

    json: type[J]
    of_json: Callable[[J], Awaitable[T]]
    of_files: Callable[[Files, Pairs], Awaitable[T]]
    max_parts: int
    form: str
    query: str | None
    files: tuple[str, ...] = (IMAGE,)


async def read_body(request: Request, body: BodyStream, forms: BodyForms[J, T]) -> T:
    """Read a call, whichever way it was sent.

    Raises:
        UnsupportedMediaError: in none of the three.
        RequestError: of any other kind; DeadlineError or ProblemError as `BodyStream.chunks`.
    """
    media_type = media_type_of(request)
    if media_type.startswith("image/") and forms.query is not None:
        bare: Files = {**{name: [] for name in forms.files}, IMAGE: [await body.read()]}
        return await forms.of_files(bare, request.query_params.multi_items())
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
        return await forms.of_files(*_split(parts, forms.files))
    raise _unsupported(media_type, forms)


def _unsupported(media_type: str, forms: BodyForms[J, T]) -> UnsupportedMediaError:
    form = f"multipart/form-data with {forms.form}"
    if forms.query is None:
        ways = f"{form}, or application/json: one bare picture is not enough here"
    else:
        ways = f"{form}, application/json, or image/... with {forms.query} in the query"
    return UnsupportedMediaError(f"Content-Type: got {media_type or 'none'!r:.80}, expected {ways}")


def _split(parts: Sequence[Part], names: Sequence[str]) -> tuple[Files, Pairs]:
    """The files of a form, in their order, and its other fields.

    Raises:
        InvalidArgumentError: a file was sent as text, another field as a file, or a text is not UTF-8.
    """
    for part in parts:
        if part.is_file and part.name not in names:
            known = " or ".join(map(repr, names))
            raise InvalidArgumentError(f"unknown file {part.name!r:.80}; the field of a file is {known}", field=IMAGE)
        if part.name in names and not part.is_file:
            told = f"{part.name}: got text, expected a file; with curl: -F {part.name}=@FILE"
            raise InvalidArgumentError(told, field=part.name)
    pairs = [(part.name, part.text()) for part in parts if not part.is_file]
    return {name: [part.content for part in parts if part.name == name] for name in names}, pairs
