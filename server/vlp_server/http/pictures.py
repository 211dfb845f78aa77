"""The picture of a JSON call: base64, a data URI or a URL -> bytes. What the bytes hold is for the core to find out."""

from __future__ import annotations

import asyncio
import base64
import binascii
from urllib.parse import unquote_to_bytes

from vlp_spec.errors import InvalidArgumentError, UnsupportedMediaError

from vlp_server.intake.picture_source import PictureUrl, check_not_empty

_SPACES = str.maketrans("", "", " \t\r\n")
# Below this, decoding on the event loop costs less than a thread.
_INLINE_CHARS = 64 * 1024


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


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.translate(_SPACES), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgumentError(
            "image: neither base64 nor a data URI nor an http(s) URL; a file goes in as multipart/form-data",
            field="image",
        ) from None
