"""Bounds what is under way by its number and by its bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteRoom:
    """Room for so many things at a time, of so many bytes together; who comes first goes first.

    What is larger than all of the room goes alone.
    """

    def __init__(self, places: int, max_bytes: int) -> None:
        self._places = places
        self._bytes = self._max_bytes = max_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait for room, and hold it within the context."""
        wanted = min(size_bytes, self._max_bytes)
        await self._enter(wanted)
        try:
            yield
        finally:
            self._leave(wanted)

    async def _enter(self, wanted: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, turn))
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._let_in()  # it may have been in the way of others
            else:  # it was let in, in the moment in which it gave up
                self._leave(wanted)
            raise

    def _leave(self, wanted: int) -> None:
        self._places += 1
        self._bytes += wanted
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            wanted, turn = self._waiting[0]
            if turn.done():  # who gave up is still in the queue until its own task goes on
                self._waiting.popleft()
                continue
            if not self._places or wanted > self._bytes:
                return
            self._waiting.popleft()
            self._places -= 1
            self._bytes -= wanted
            turn.set_result(None)
