"""Bodies of POST /v1/chat/completions."""

from __future__ import annotations

import base64
from typing import Any


def data_uri(picture: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode()


def user(picture: bytes | str | None, *texts: str) -> dict[str, Any]:
    """A user's message: a picture, or a URL, or none, and texts."""
    url = data_uri(picture) if isinstance(picture, bytes) else picture
    shown = [] if url is None else [{"type": "image_url", "image_url": {"url": url}}]
    return {"role": "user", "content": [*shown, *({"type": "text", "text": text} for text in texts)]}
