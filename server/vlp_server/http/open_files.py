"""Room for connections: each takes a file of the process, and many systems give a process 1024 unless it asks."""

from __future__ import annotations

import logging
import resource

from vlp_server.http.protocol import SURPLUS

logger = logging.getLogger(__name__)

# Models, the store, the log, pipes of threads.
_OTHERS = 256


def make_room_for(connections: int, grpc_connections: int = 0) -> None:
    """Ask the system for as many open files as so many connections need, and say so where it gives fewer.

    Args:
        connections: of HTTP.
        grpc_connections: of the door beside it.
    """
    needed = connections + SURPLUS + grpc_connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    given = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (given, hard))
    except (OSError, ValueError):
        given = soft
    if given < needed:
        logger.warning(
            "http.max_connections = %d and grpc.max_connections = %d need about %d open files, this process may have "
            "%d (ulimit -n): when they are used up, nobody can connect until some are closed",
            connections,
            grpc_connections,
            needed,
            given,
        )
