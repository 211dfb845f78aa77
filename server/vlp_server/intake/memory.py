"""How many bytes of bodies and fetched pictures the door holds, all requests together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vlp_spec.errors import OverloadedError, TooLargeError

# Counts so many more bytes as held by one request, or fewer; raises OverloadedError where there is no room.
TakeBytes = Callable[[int], None]


def at_most(take: TakeBytes, max_bytes: int) -> TakeBytes:
    """The same count, for the pictures that one request has fetched: many of them together are bounded too.

    Raises:
        TooLargeError: from the function that is given: they have more bytes than one request may hold.
    """
    fetched = 0

    def take_bounded(size_bytes: int) -> None:
        nonlocal fetched
        fetched += size_bytes
        if fetched > max_bytes:
            raise TooLargeError(f"image: behind the URLs are more than {max_bytes} bytes together; send several calls")
        take(size_bytes)

    return take_bounded


class MemoryBudget:
    """Bytes held, counted as they arrive: what a client announces and never sends keeps nobody out.

    Args:
        max_bytes: of all requests together; a request that is alone may hold more, up to its own limits.
        changed: told the sum after every change.
    """

    def __init__(self, max_bytes: int, changed: Callable[[int], None]) -> None:
        self._max_bytes = max_bytes
        self._changed = changed
        self._held = 0

    @contextmanager
    def share(self) -> Iterator[TakeBytes]:
        """The share of one request, given back at the end.

        Raises:
            OverloadedError: from the function that is given: others hold the memory that it asks for.
        """
        mine = 0

        def take(size_bytes: int) -> None:
            nonlocal mine
            if size_bytes > 0 and self._held > mine and self._held + size_bytes > self._max_bytes:
                raise OverloadedError(
                    "the server holds as many bytes of requests as it takes; try again later",
                    detail=f"{self._held} bytes held, {size_bytes} more asked for, limit {self._max_bytes}",
                )
            mine += size_bytes
            self._add(size_bytes)

        try:
            yield take
        finally:
            self._add(-mine)

    def _add(self, size_bytes: int) -> None:
        self._held += size_bytes
        self._changed(self._held)
