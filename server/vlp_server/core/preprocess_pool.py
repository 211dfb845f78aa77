"""Threads for decoding and tokenising, given to the most urgent caller first. Knows nothing of pictures."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vlp_spec.errors import DeadlineError, UnavailableError
from vlp_spec.tasks import Lane

from vlp_server.core.records import Timings

T = TypeVar("T")
_MS = 1000.0
_RANKS = {Lane.INTERACTIVE: 0, Lane.BULK: 1}


@dataclass(frozen=True, slots=True)
class Ran(Generic[T]):
    """A call's value, and the seconds that it waited and ran."""

    value: T
    waited_s: float
    ran_s: float

    @property
    def timings(self) -> Timings:
        """The same as a request's timings."""
        return Timings(queue_ms=self.waited_s * _MS, preprocess_ms=self.ran_s * _MS)


class PreprocessPool:
    """A thread pool with an order: interactive before bulk, then the earliest deadline.

    Only as many calls as there are threads are handed to the executor; the others wait on the event loop, where one
    that is cancelled or late leaves before it costs anything. How many may wait is the admission's business.
    """

    def __init__(self, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="preprocess")
        self._clock = clock
        self._free = threads
        self._running: dict[Future[Any], float] = {}
        self._waiting: list[tuple[int, float, int, asyncio.Future[None]]] = []
        self._sequence = itertools.count()
        self._closed = False

    async def run(self, call: Callable[[], T], *, lane: Lane, deadline: float) -> Ran[T]:
        """Run a call in a thread.

        Raises:
            DeadlineError: the deadline passed before a thread was free.
            UnavailableError: the pool has been closed.
            Exception: whatever the call raises.
        """
        asked = self._clock()
        await self._acquire(lane, deadline)
        started = self._clock()
        if started >= deadline:
            self._release()
            raise DeadlineError("the deadline passed before the picture could be decoded")
        loop = asyncio.get_running_loop()
        try:
            job = self._executor.submit(call)
        except RuntimeError as error:
            self._release()
            raise UnavailableError("the server is stopping", retry_after_s=5.0) from error

        def end_soon(job: Future[T]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._end, job)

        self._running[job] = started
        # The thread is free when the call ends, not when its caller leaves.
        job.add_done_callback(end_soon)
        value = await asyncio.wrap_future(job)
        return Ran(value, started - asked, self._clock() - started)

    def busy_since(self) -> float | None:
        """When the oldest call that still runs began, on the pool's clock; None while none runs."""
        return min(self._running.values(), default=None)

    def close(self) -> None:
        """Refuse what waits; calls that run are not waited for."""
        self._closed = True
        for _, _, _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(UnavailableError("the server is stopping", retry_after_s=5.0))
        self._waiting.clear()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _acquire(self, lane: Lane, deadline: float) -> None:
        if self._closed:
            raise UnavailableError("the server is stopping", retry_after_s=5.0)
        if self._free:
            self._free -= 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (_RANKS[lane], deadline, next(self._sequence), waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release()  # the thread was given to a caller who left in the same moment
            raise

    def _end(self, job: Future[Any]) -> None:
        del self._running[job]
        self._release()

    def _release(self) -> None:
        while self._waiting:
            _, _, _, waiter = heapq.heappop(self._waiting)
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1
