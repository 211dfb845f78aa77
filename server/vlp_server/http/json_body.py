"""A JSON body -> a checked record. Strict: no key twice, no NaN, nothing unknown."""

from __future__ import annotations

import asyncio
import json
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from vlp_spec.errors import InvalidArgumentError, UnsupportedMediaError

from vlp_server.http.body import BodyStream
from vlp_server.http.fields import check_fields, refuse_constant

# Below this, parsing on the event loop costs less than a thread.
INLINE_BYTES = 64 * 1024

B = TypeVar("B", bound=BaseModel)


def media_type_of(request: Request) -> str:
    """The content type without its parameters, in lower case; "" where there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(media_type: str) -> bool:
    """Whether a body of this type is JSON."""
    return media_type == "application/json" or media_type.endswith("+json")


def refuse_query(request: Request) -> None:
    """With a form or JSON the fields are in the body; one in the query would be forgotten without a word.

    Raises:
        InvalidArgumentError: there is one.
    """
    for name in request.query_params:
        raise InvalidArgumentError(
            f"unknown query parameter {name!r:.80}; with this content type all fields go into the body", field=name[:80]
        )


async def read_json(request: Request, body: BodyStream, kind: type[B]) -> B:
    """Read a body that can only be JSON.

    Raises:
        UnsupportedMediaError: another content type.
        InvalidArgumentError: not JSON, or not what `kind` says.
    """
    media_type = media_type_of(request)
    if not is_json(media_type):
        raise UnsupportedMediaError(f"Content-Type: got {media_type or 'none'!r:.80}, expected application/json")
    refuse_query(request)
    return await parse_body(await body.read(), kind)


async def parse_body(body: bytes, kind: type[B]) -> B:
    """Check the bytes of a JSON body; a large one in a thread.

    Raises:
        InvalidArgumentError: not JSON, or not what `kind` says.
    """
    if len(body) > INLINE_BYTES:
        return await asyncio.to_thread(_parse, body, kind)
    return _parse(body, kind)


def parse_object(name: str, text: bytes | str) -> dict[str, Any]:
    """A JSON object.

    Args:
        name: of what it is, for messages: "body", or a field.

    Raises:
        InvalidArgumentError: not JSON, no object, a key twice, or NaN.
    """
    field = None if name == "body" else name
    try:
        values = json.loads(text, object_pairs_hook=_distinct, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{name}: not JSON ({error})", field=field) from None
    if not isinstance(values, dict):
        raise InvalidArgumentError(f"{name}: got a JSON {type(values).__name__}, expected an object", field=field)
    return values


def _parse(body: bytes, kind: type[B]) -> B:
    return check_fields(kind, parse_object("body", body))


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("the same key twice in one object")
    return values
