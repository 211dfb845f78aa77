"""A client without a socket that sends one whole request to the door, and may go away before the answer."""

from __future__ import annotations

import asyncio
from typing import Any


class LeavingClient:
    """Sends a POST; `statuses`, `headers` and `chunks` hold what came back, `whole` whether it came to its end.

    Args:
        app: the ASGI application.
        gone: set when the client goes away.
    """

    def __init__(self, app: Any, gone: asyncio.Event) -> None:
        self._app = app
        self._gone = gone
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.chunks: list[bytes] = []
        self.whole = False

    async def post(self, path: str, body: bytes, *, content_type: str = "application/json", query: bytes = b"") -> None:
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.statuses.append(message["status"])
                self.headers |= {name.decode(): value.decode() for name, value in message["headers"]}
            elif message["body"]:
                self.chunks.append(message["body"])
            self.whole = message["type"] == "http.response.body" and not message.get("more_body", False)

        await self._app(post_scope(path, content_type, query), receive, send)


def post_scope(path: str, content_type: str, query: bytes = b"") -> dict[str, Any]:
    """What an ASGI server says of the request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(b"content-type", content_type.encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "root_path": "",
    }
