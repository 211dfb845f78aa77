"""A few threads for blocking calls, awaited from the event loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from vlp_server.core.engine_thread import EngineThread

T = TypeVar("T")


class ThreadTeam:
    """Runs so many calls at a time; the others wait on the event loop, first come, first served.

    The threads are daemons: a call that hangs does not keep the process from ending.

    Args:
        name: of the threads, for logs and debuggers.
        threads: calls at a time.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._threads = [EngineThread(f"{name}-{index}") for index in range(threads)]
        self._free: asyncio.Queue[EngineThread] = asyncio.Queue()
        for thread in self._threads:
            self._free.put_nowait(thread)

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call. When the awaiting task is cancelled a call that has begun still runs to its end.

        Raises:
            UnavailableError: the team was closed.
            Exception: whatever the call raised.
        """
        thread = await self._free.get()
        job = asyncio.ensure_future(thread.run(call))
        # The thread is free when the call ends, not when its caller leaves.
        job.add_done_callback(functools.partial(self._end, thread))
        return await asyncio.shield(job)

    async def finish(self) -> None:
        """Wait until no call runs or waits. New ones may come meanwhile."""
        held = [await self._free.get() for _ in self._threads]
        for thread in held:
            self._free.put_nowait(thread)

    def close(self) -> None:
        """Let the threads end after the calls that they run. Does not wait for them."""
        for thread in self._threads:
            thread.close()

    def _end(self, thread: EngineThread, job: asyncio.Future[Any]) -> None:
        self._free.put_nowait(thread)
        if not job.cancelled():
            job.exception()  # seen, even when the caller has left
