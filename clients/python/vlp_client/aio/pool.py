"""Work that is under way at the same time: tasks of the event loop. Its twin in `vlp_client.sync` has threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
Items = Iterable[T] | AsyncIterable[T]
"""What a bulk run goes through."""


class AsyncPool(Generic[T]):
    """At most so many pieces of work at a time.

    Args:
        parallel: pieces.
    """

    def __init__(self, parallel: int) -> None:
        self._parallel = parallel
        self._running: set[asyncio.Task[T]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether something is under way."""
        return bool(self._running)

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be started."""
        return len(self._running) >= self._parallel

    def start(self, work: Callable[[], Awaitable[T]]) -> None:
        """Start a piece of work."""
        self._running.add(asyncio.ensure_future(work()))

    async def first(self) -> list[T]:
        """Wait until something has ended, and return all that has; raises what it raised."""
        done, self._running = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        return [task.result() for task in done]

    async def aside(self, work: Callable[[], T]) -> T:
        """Do something that blocks, such as reading a file."""
        return await asyncio.to_thread(work)

    async def sleep(self, wait_s: float) -> None:
        """Wait inside of a piece of work."""
        await asyncio.sleep(wait_s)

    async def aclose(self) -> None:
        """Cancel what is under way."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running = set()


async def each(items: Items[T]) -> AsyncIterator[T]:
    """The items of what may have to be waited for, or not."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    for item in items:
        yield item
