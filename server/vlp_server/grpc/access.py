"""The API keys in a call's metadata."""

from __future__ import annotations

from collections.abc import Iterable

from vlp_server.access.shown_key import bearer_key

_AUTHORIZATION = "authorization"
_KEY = "x-api-key"
HOW = f"send it as metadata '{_AUTHORIZATION}: Bearer KEY' or '{_KEY}: KEY'"

Metadata = Iterable[tuple[str, str | bytes]]


def sent_keys(metadata: Metadata) -> set[bytes]:
    """All keys that a call carries; the same one twice is one."""
    found: list[str | None] = []
    for name, value in metadata:
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if name == _KEY:
            found.append(text)
        elif name == _AUTHORIZATION:
            found.append(bearer_key(text))
    return {text.strip().encode("utf-8", "replace") for text in found if text is not None and text.strip()}
