"""The name of a picture's content: sha256 of its file. Large files are hashed in a thread."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from vlp_server.core.preprocess_pool import PreprocessPool
from vlp_server.core.records import Timings
from vlp_server.core.urgency import Urgency

_MS = 1000.0
_INLINE_BYTES = 256 * 1024


async def timed_digests(
    pictures: Sequence[bytes], pool: PreprocessPool, urgency: Urgency, clock: Callable[[], float]
) -> tuple[tuple[str, ...], Timings]:
    """Digests of several, and how long they took; errors as `content_digest`."""
    started = clock()
    digests = tuple([await content_digest(picture, pool, urgency) for picture in pictures])
    return digests, Timings(cache_ms=(clock() - started) * _MS)


async def content_digest(content: bytes, pool: PreprocessPool, urgency: Urgency) -> str:
    """Sha256 in hex.

    Raises:
        DeadlineError, UnavailableError: see PreprocessPool.run.
    """
    if len(content) <= _INLINE_BYTES:
        return hashlib.sha256(content).hexdigest()
    ran = await pool.run(lambda: hashlib.sha256(content).hexdigest(), lane=urgency.lane, deadline=urgency.deadline)
    return ran.value
