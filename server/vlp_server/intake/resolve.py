"""Host names -> addresses, in threads of its own: a slow name server must not stop what else needs threads."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Sequence
from typing import Any

from vlp_server.core.thread_team import ThreadTeam

Lookup = Callable[..., Sequence[tuple[Any, ...]]]
_THREADS = 4


class HostResolver:
    """Asks the machine's resolver. Only so many names are looked up at a time; the others wait on the event loop.

    Args:
        lookup: blocking, as `socket.getaddrinfo`, which nothing can interrupt.
        threads: names looked up at a time.
    """

    def __init__(self, lookup: Lookup = socket.getaddrinfo, threads: int = _THREADS) -> None:
        self._lookup = lookup
        self._team = ThreadTeam("resolver", threads)

    async def __call__(self, host: str, port: int) -> list[str]:
        """All addresses of a host, as text.

        Raises:
            OSError: it has none.
        """
        found = await self._team.run(functools.partial(self._lookup, host, port, type=socket.SOCK_STREAM))
        return [str(entry[4][0]) for entry in found]
