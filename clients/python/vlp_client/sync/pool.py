"""Work that is under way at the same time: threads. Written by hand, as its twin in `vlp_client.aio`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

T = TypeVar("T")
Items = Iterable[T]
"""What a bulk run goes through."""


class PoolClosedError(Exception):
    """The run ends: nobody goes on waiting."""


class Pool(Generic[T]):
    """At most so many pieces of work at a time.

    Args:
        parallel: pieces.
    """

    def __init__(self, parallel: int) -> None:
        self._parallel = parallel
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="vlp-bulk")
        self._running: set[Future[T]] = set()
        self._leaving = threading.Event()

    @property
    def is_busy(self) -> bool:
        """Whether something is under way."""
        return bool(self._running)

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be started."""
        return len(self._running) >= self._parallel

    def start(self, work: Callable[[], T]) -> None:
        """Start a piece of work."""
        self._running.add(self._threads.submit(work))

    def first(self) -> list[T]:
        """Wait until something has ended, and return all that has; raises what it raised."""
        done, self._running = wait(self._running, return_when=FIRST_COMPLETED)
        return [future.result() for future in done]

    def aside(self, work: Callable[[], T]) -> T:
        """Do something that blocks: here it may."""
        return work()

    def sleep(self, wait_s: float) -> None:
        """Wait inside of a piece of work.

        Raises:
            PoolClosedError: the pool is being closed.
        """
        if self._leaving.wait(wait_s):
            raise PoolClosedError

    def close(self) -> None:
        """See what is under way through, and start nothing more."""
        self._leaving.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._running = set()


def each(items: Items[T]) -> Iterator[T]:
    """The items."""
    yield from items
