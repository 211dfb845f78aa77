"""Who lets a call of the protocol in: the server that it runs on. Asked before a message is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, Self

from vlp_spec.tasks import Task

from vlp_server.access.prices import Weight
from vlp_server.oip.records import InferReply


class Passed(Protocol):
    """A call that was let in, or a part of one."""

    def take(self, size_bytes: int, /) -> None:
        """Count bytes that it holds; OverloadedError where others hold too many."""
        ...

    def charge(self, weight: Weight, task: Task | None) -> None:
        """Let its caller pay for a task, or for a graph; RateLimitedError where it asks too much."""
        ...

    def note(self, *, received: int = 0, sent: int = 0, reply: InferReply | None = None) -> None:
        """Keep bytes of messages that came and that go, and what answered, for a log."""
        ...

    def part(self) -> AbstractContextManager[Passed]:
        """A part of it, which gives back at its end what it held."""
        ...


class Gate(Protocol):
    """Lets calls in."""

    @property
    def closing(self) -> bool:
        """Whether the server is stopping."""
        ...

    @property
    def message_timeout_s(self) -> float | None:
        """How long a call may take to bring its message."""
        ...

    def let_in(self, name: str, context: Any) -> AbstractContextManager[Passed]:
        """Let a call in for the time of its answer, or raise a VlpError.

        Args:
            name: of the method.
            context: grpc's, of the call.
        """
        ...


class FreePass:
    """Of a call that costs nothing."""

    def take(self, size_bytes: int, /) -> None:
        """Count nothing."""

    def charge(self, weight: Weight, task: Task | None) -> None:
        """Ask for nothing."""

    def note(self, *, received: int = 0, sent: int = 0, reply: InferReply | None = None) -> None:
        """Keep nothing."""

    @contextmanager
    def part(self) -> Iterator[Self]:
        """The same."""
        yield self
