"""Work that is under way at the same time: threads. Written by hand, as its twin in `vlp_client.aio`."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Generic, TypeVar

T = TypeVar("T")
Items = Iterable[T]
"""What a bulk run goes through."""


class PoolClosedError(Exception):
    """The run ends: nobody goes on waiting."""


class Pool(Generic[T]):
    """At most so many pieces of work at a time.

    Its threads are daemons: a run that nobody goes on with, and that waits, keeps no interpreter from ending.

    Args:
        parallel: pieces.
    """

    def __init__(self, parallel: int) -> None:
        self._parallel = parallel
        self._waiting: queue.SimpleQueue[tuple[Future[T], Callable[[], T]] | None] = queue.SimpleQueue()
        self._threads = 0
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
        future: Future[T] = Future()
        self._running.add(future)
        self._waiting.put((future, work))
        if self._threads < len(self._running):
            self._threads += 1
            threading.Thread(target=self._work, name=f"vlp-bulk-{self._threads}", daemon=True).start()

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
        if sys.is_finalizing():
            return  # the threads stand still by now: who waited for them would wait for ever
        self._leaving.set()
        for _ in range(self._threads):
            self._waiting.put(None)
        wait(self._running)
        self._running = set()

    def _work(self) -> None:
        while (found := self._waiting.get()) is not None:
            future, work = found
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)


def each(items: Items[T]) -> Iterator[T]:
    """The items."""
    yield from items
