"""How many requests all doors of a server read and answer at once, and how many bytes those hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vlp_spec.errors import OverloadedError, UnavailableError

from vlp_server.intake.memory import MemoryBudget, TakeBytes


class Room:
    """The room of one server. Belongs to the event loop.

    Args:
        max_requests: inside at once.
        max_bytes: that those hold.
        changed: told the bytes that are held, after every change.

    Attributes:
        inside: how many are.
        closing: whether nobody is let in any more.
    """

    def __init__(self, max_requests: int, max_bytes: int, changed: Callable[[int], None] = lambda _: None) -> None:
        self._max_requests = max_requests
        self._memory = MemoryBudget(max_bytes, changed)
        self.inside = 0
        self.closing = False

    @contextmanager
    def enter(self) -> Iterator[TakeBytes]:
        """Be inside for the time of a request; held before its body is read, so that waiting bodies are bounded too.

        Returns:
            what counts the bytes that the request holds, until it leaves.

        Raises:
            OverloadedError: too many are inside.
            UnavailableError: the server is stopping.
        """
        if self.closing:
            raise UnavailableError("the server is stopping; ask another one")
        if self.inside >= self._max_requests:
            raise OverloadedError(f"{self.inside} requests are inside already; try again later")
        self.inside += 1
        try:
            with self._memory.share() as take:
                yield take
        finally:
            self.inside -= 1
