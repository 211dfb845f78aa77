"""A thread for blocking engine calls, awaited from the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from vlp_spec.errors import InternalError

from vlp_server.core.unavailable import stopping

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Job:
    call: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class EngineThread:
    """Runs calls one after another in a thread of its own.

    The thread is a daemon: one that hangs in an engine must not keep the process from ending, which the threads of
    concurrent.futures do. Whatever a call raises is handed to the one who awaits it, and the thread goes on.

    Args:
        name: of the thread, for debuggers.
        clock: monotonic seconds.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._busy_since: float | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call in the thread.

        When the awaiting task is cancelled the call still runs to its end, and its result is dropped.

        Raises:
            UnavailableError: the thread has been closed.
            Exception: whatever the call raised; what is no Exception (SystemExit) comes as InternalError.
        """
        if self._closed:
            raise stopping()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(call, loop, future))
        return await future

    def busy_since(self) -> float | None:
        """When the call that is under way was started; None when idle. A call whose caller has gone counts, too."""
        return self._busy_since

    def close(self) -> None:
        """Let the thread end after the call that it runs. Does not wait for it."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result: Any = None
            failure: Exception | None = None
            self._busy_since = self._clock()
            try:
                result = job.call()
            except StopIteration as error:  # a future refuses it
                failure = InternalError(detail=repr(error))
            except Exception as error:
                failure = error
            except BaseException as error:
                failure = InternalError(detail=f"engine thread: {error!r}")
            self._busy_since = None
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                job.loop.call_soon_threadsafe(_deliver, job.future, result, failure)


def _deliver(future: asyncio.Future[Any], result: Any, failure: Exception | None) -> None:
    if future.done():  # whoever waited has gone; setting it would raise and hurt others
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)
