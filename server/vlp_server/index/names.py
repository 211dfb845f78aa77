"""Which names collections and items may have."""

from __future__ import annotations

import re

from vlp_spec.errors import InvalidArgumentError

MAX_ITEM_ID_BYTES = 256
_COLLECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_collection_name(name: str) -> str:
    """Return `name` when it may be a collection's: it is a part of paths, on disk and in URLs.

    Raises:
        InvalidArgumentError: it is empty, longer than 128 characters, or has slashes, '..' or other characters.
    """
    if not isinstance(name, str) or not _COLLECTION.fullmatch(name) or ".." in name:
        raise InvalidArgumentError(
            f"name {_shown(name)}: expected 1 to 128 letters, digits, '.', '_' and '-', starting with a letter or "
            "digit, without '..'",
            field="name",
        )
    return name


def check_item_id(item_id: str) -> str:
    """Return `item_id` when it may be an item's: it is a part of URLs.

    Raises:
        InvalidArgumentError: it is empty, longer than 256 bytes in UTF-8, '.' or '..', or has slashes, backslashes,
            control characters or lone surrogates.
    """
    if (
        not isinstance(item_id, str)
        or item_id in ("", ".", "..")
        or not item_id.isprintable()
        or "/" in item_id
        or "\\" in item_id
        or len(item_id.encode("utf-8", "replace")) > MAX_ITEM_ID_BYTES
    ):
        raise InvalidArgumentError(
            f"id {_shown(item_id)}: expected 1 to {MAX_ITEM_ID_BYTES} bytes of printable text without '/' and '\\'",
            field="id",
        )
    return item_id


def _shown(value: object) -> str:
    """The value, short enough for a message."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."
