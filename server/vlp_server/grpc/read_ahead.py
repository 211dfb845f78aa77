"""Messages of a stream that arrive while earlier ones are worked on, bounded, and taken together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """Draws a stream until so much is waiting; then its sender waits, too. Must be closed.

    Args:
        items: closed at the end.
        size: of an item: how many of what is counted, and how many bytes.
        max_count: that wait, unless one item alone is more.
        max_bytes: likewise.
    """

    def __init__(
        self,
        items: AsyncGenerator[T],
        size: Callable[[T], tuple[int, int]],
        max_count: int,
        max_bytes: int,
    ) -> None:
        self._size = size
        self._max_count, self._max_bytes = max_count, max_bytes
        self._waiting: list[T] = []
        self._count = self._bytes = 0
        self._arrived, self._taken = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._draw(items))
        self._task.add_done_callback(lambda _: self._arrived.set())

    async def take(self) -> list[T]:
        """All that waits, at least one item; empty after the last.

        Raises:
            Exception: whatever the stream raised, once the items before it are taken.
        """
        await self._arrived.wait()
        items, self._waiting = self._waiting, []
        self._count = self._bytes = 0
        self._taken.set()
        if not items:
            self._task.result()
        elif not self._task.done():
            self._arrived.clear()
        return items

    async def close(self) -> None:
        """Stop drawing, and wait until the stream has ended."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _draw(self, items: AsyncGenerator[T]) -> None:
        async with aclosing(items):
            async for item in items:
                count, size_bytes = self._size(item)
                while self._waiting and (
                    self._count + count > self._max_count or self._bytes + size_bytes > self._max_bytes
                ):
                    self._taken.clear()
                    await self._taken.wait()
                self._waiting.append(item)
                self._count += count
                self._bytes += size_bytes
                self._arrived.set()
