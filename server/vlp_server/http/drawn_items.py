"""The items of an asynchronous iterator, drawn by a task of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Generic, TypeVar

T = TypeVar("T")


class DrawnItems(Generic[T]):
    """Draws at once and keeps what nobody has taken yet, so that a slow taker holds up nobody.

    The iterator lives in one task from its first item to its end: its timeouts and its clean-up meet no other, however
    long its items are waited for and in which tasks. Must be closed.

    Args:
        items: closed at the end; few enough to be kept.
    """

    def __init__(self, items: AsyncGenerator[T, None]) -> None:
        self._kept: deque[T] = deque()
        self._there = asyncio.Event()
        self._task = asyncio.create_task(self._draw(items))
        self._task.add_done_callback(lambda _: self._there.set())

    async def first(self) -> None:
        """Wait for the first item.

        Raises:
            Exception: whatever the iterator raises in its place.
        """
        await self._there.wait()
        if not self._kept:
            self._task.result()

    async def arrived(self, within_s: float) -> bool:
        """Whether an item, or the end, is there in this time."""
        try:
            async with asyncio.timeout(within_s):
                await self._there.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> T | None:
        """The next item that has arrived; None after the last.

        Raises:
            Exception: whatever the iterator raised, once the items before it are taken.
        """
        if not self._kept:
            self._task.result()
            return None
        item = self._kept.popleft()
        if not self._kept and not self._task.done():
            self._there.clear()
        return item

    async def close(self) -> None:
        """Stop drawing, and wait until the iterator has ended."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _draw(self, items: AsyncGenerator[T, None]) -> None:
        async with aclosing(items):
            async for item in items:
                self._kept.append(item)
                self._there.set()
