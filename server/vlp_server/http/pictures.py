"""The picture of a JSON call: base64, a data URI or a URL -> bytes. What the bytes hold is for the core to find out."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from vlp_spec.errors import DeadlineError, InvalidArgumentError, InvalidImageError, UnsupportedMediaError

from vlp_server.http.memory import TakeBytes

Fetch = Callable[[str, TakeBytes], Awaitable[bytes]]
_SPACES = str.maketrans("", "", " \t\r\n")
# Below this, decoding on the event loop costs less than a thread.
_INLINE_CHARS = 64 * 1024


@dataclass(frozen=True, slots=True)
class PictureUrl:
    """A picture that is named and not sent; it is fetched once the whole request has been read."""

    text: str


def is_url(source: str) -> bool:
    """Whether the text names a picture by http(s) URL."""
    return source[:8].lower().startswith(("http://", "https://"))


def decode_source(source: str) -> bytes:
    """Bytes of base64 text or of a data URI.

    Raises:
        InvalidArgumentError: neither the one nor the other.
        UnsupportedMediaError: a data URI of something that is not a picture.
    """
    if source[:5].lower() != "data:":
        return _from_base64(source)
    head, comma, content = source[5:].partition(",")
    if not comma:
        raise InvalidArgumentError("image: a data URI without a comma; write data:image/...;base64,...", field="image")
    media_type, *parameters = (part.strip().lower() for part in head.split(";"))
    if media_type and not media_type.startswith("image/"):
        raise UnsupportedMediaError(f"image: a data URI of {media_type!r:.60}, expected image/...")
    return _from_base64(content) if "base64" in parameters else unquote_to_bytes(content)


async def fetch_source(url: PictureUrl, fetch: Fetch | None, take: TakeBytes, deadline: float | None) -> bytes:
    """Bytes of a picture that is named by URL.

    Args:
        url: http or https.
        fetch: None where the operator has not allowed it.
        take: counts the bytes that arrive.
        deadline: time.monotonic() seconds after which nobody waits for the answer, or None.

    Raises:
        InvalidArgumentError: not allowed, or as `fetch` says.
        InvalidImageError: nothing is behind it.
        DeadlineError: the deadline passed first.
    """
    if fetch is None:
        raise InvalidArgumentError(
            "image: this server fetches no URLs; send the picture itself (its operator may set url_fetch.enabled)",
            field="image",
        )
    try:
        async with asyncio.timeout(None if deadline is None else deadline - time.monotonic()):
            return check_not_empty(await fetch(url.text, take))
    except TimeoutError:
        raise DeadlineError("the deadline passed while the picture was being fetched") from None


async def read_source(source: str) -> bytes | PictureUrl:
    """A picture in any of its forms in JSON: its bytes, or where it is to be fetched from.

    Raises:
        InvalidArgumentError, UnsupportedMediaError: as `decode_source` says.
        InvalidImageError: it has no bytes.
    """
    if is_url(source):
        return PictureUrl(source)
    if len(source) > _INLINE_CHARS:
        return check_not_empty(await asyncio.to_thread(decode_source, source))
    return check_not_empty(decode_source(source))


def check_not_empty(picture: bytes) -> bytes:
    """The picture.

    Raises:
        InvalidImageError: it has no bytes.
    """
    if not picture:
        raise InvalidImageError("image: no bytes at all; was the file read?")
    return picture


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.translate(_SPACES), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgumentError(
            "image: neither base64 nor a data URI nor an http(s) URL; a file goes in as multipart/form-data",
            field="image",
        ) from None
