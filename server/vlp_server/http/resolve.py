"""Host names -> addresses, in threads of its own: a slow name server must not stop what else needs threads."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable, Sequence
from typing import Any

from vlp_server.core.engine_thread import EngineThread

Lookup = Callable[..., Sequence[tuple[Any, ...]]]
_THREADS = 4


class HostResolver:
    """Asks the machine's resolver. Only so many names are looked up at a time; the others wait on the event loop.

    The threads are daemons: a lookup that hangs does not keep the process from ending.

    Args:
        lookup: blocking, as `socket.getaddrinfo`, which nothing can interrupt.
        threads: names looked up at a time.
    """

    def __init__(self, lookup: Lookup = socket.getaddrinfo, threads: int = _THREADS) -> None:
        self._lookup = lookup
        self._free: asyncio.Queue[EngineThread] = asyncio.Queue()
        for index in range(threads):
            self._free.put_nowait(EngineThread(f"resolver-{index}"))

    async def __call__(self, host: str, port: int) -> list[str]:
        """All addresses of a host, as text.

        Raises:
            OSError: it has none.
        """
        thread = await self._free.get()
        call = functools.partial(self._lookup, host, port, type=socket.SOCK_STREAM)
        job = asyncio.ensure_future(thread.run(call))
        # The thread is free when the lookup ends, not when its caller leaves.
        job.add_done_callback(functools.partial(self._end, thread))
        return [str(entry[4][0]) for entry in await asyncio.shield(job)]

    def _end(self, thread: EngineThread, job: asyncio.Future[Any]) -> None:
        self._free.put_nowait(thread)
        if not job.cancelled():
            job.exception()  # seen, even when the caller has left
