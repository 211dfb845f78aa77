# Made from vlp_client/aio/transport.py by clients/python/write_sync_client.py: change it there.
"""What carries calls to a server."""

from __future__ import annotations

from typing import Any, Protocol, Self

from vlp_client.calls import Call
from vlp_client.replies import Reply
from vlp_client.server_events import Event
from vlp_client.timeouts import Span


class Events(Protocol):
    """An answer that arrives while it is made."""

    def __iter__(self) -> Self:
        """The events, which can be read once."""

    def __next__(self) -> Event:
        """The next one; the last is named "done".

        Raises:
            VlpClientError: the server failed on the way, the connection broke, or this is no stream of this API.
        """

    def close(self) -> None:
        """Stop reading; the server stops working on it, too."""


class Transport(Protocol):
    """One way to one server: sends a call once, and reads what comes back."""

    def send(self, call: Call[Any], span: Span) -> Reply:
        """Send a call.

        Raises:
            VlpClientError: see `vlp_client.errors`.
            ValueError: a name that cannot be sent.
        """

    def stream(self, call: Call[Any], span: Span) -> Events:
        """As `send`, for an answer in parts; returns when the server has begun."""

    def close(self) -> None:
        """Close all connections."""
