"""What carries calls to a server."""

from __future__ import annotations

from typing import Any, Protocol, Self

from vlp_client.calls import Call
from vlp_client.replies import Reply
from vlp_client.server_events import Event
from vlp_client.timeouts import Span


class AsyncEvents(Protocol):
    """An answer that arrives while it is made."""

    def __aiter__(self) -> Self:
        """The events, which can be read once."""

    async def __anext__(self) -> Event:
        """The next one; the last is named "done".

        Raises:
            VlpClientError: the server failed on the way, the connection broke, or this is no stream of this API.
        """

    async def aclose(self) -> None:
        """Stop reading; the server stops working on it, too."""


class AsyncTransport(Protocol):
    """One way to one server: sends a call once, and reads what comes back."""

    async def send(self, call: Call[Any], span: Span) -> Reply:
        """Send a call.

        Raises:
            VlpClientError: see `vlp_client.errors`.
            ValueError: a name that cannot be sent.
        """

    async def stream(self, call: Call[Any], span: Span) -> AsyncEvents:
        """As `send`, for an answer in parts; returns when the server has begun."""

    async def aclose(self) -> None:
        """Close all connections."""
