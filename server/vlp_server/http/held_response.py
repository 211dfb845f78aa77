"""An answer that counts as held until it has been sent: a client that does not read must not fill the memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class HeldResponse(Response):
    """A whole answer whose request stays inside until the last byte has gone, or the client.

    Args:
        content: the body.
        held: what the request holds; closed at the end.
        media_type: of the body.
        headers: further ones.
    """

    def __init__(
        self, content: bytes, held: ExitStack, *, media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(content, media_type=media_type, headers=None if headers is None else dict(headers))
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._held:
            await super().__call__(scope, receive, send)
