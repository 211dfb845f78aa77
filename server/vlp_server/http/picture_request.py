"""An HTTP request -> the picture and what is asked of it, for the three ways to send one. The same for every task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.requests import Request
from vlp_spec.errors import InvalidArgumentError

from vlp_server.config.settings import LimitsConfig
from vlp_server.http.body import BodyStream
from vlp_server.http.body_forms import BodyForms, Pairs, read_body
from vlp_server.http.fields import CallFields, fields_from_pairs
from vlp_server.http.pictures import PictureUrl, check_not_empty, read_source

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

    async def of_json(fields: CallFields) -> tuple[bytes | PictureUrl | None, A]:
        ask = shape.ask(fields, limits)
        source: str | None = getattr(fields, "image", None)
        return None if source is None else await read_source(source), ask

    def of_pictures(pictures: list[bytes], pairs: Pairs) -> tuple[bytes | None, A]:
        if len(pictures) > 1 or (shape.needs_picture and not pictures):
            raise InvalidArgumentError(f"image: got {len(pictures)} of them, expected one file field", field="image")
        ask = shape.ask(fields_from_pairs(shape.fields, pairs), limits)
        return (check_not_empty(pictures[0]) if pictures else None), ask

    forms: BodyForms[CallFields, tuple[bytes | PictureUrl | None, A]] = BodyForms(
        json=shape.json,
        of_json=of_json,
        of_pictures=of_pictures,
        max_parts=limits.multipart_parts,
        form="a file field 'image'",
        query="the other fields",
    )
    return await read_body(request, body, forms)
