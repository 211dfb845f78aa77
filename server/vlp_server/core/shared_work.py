"""Values that are worked out once for all who ask: a cache, and one computation a key in flight. Knows no model.

Keys say all that a value depends on (content of the picture or text, digest of the model, parameters), so nothing ever
expires by itself. Only successes are kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vlp_spec.errors import DeadlineError

from vlp_server.core.lru_cache import LruCache
from vlp_server.core.metrics import Metrics
from vlp_server.core.records import Timings
from vlp_server.core.single_flight import SingleFlight
from vlp_server.core.urgency import Urgency

V = TypeVar("V")
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Worked(Generic[V]):
    """A value, and where the time went that it took."""

    value: V
    timings: Timings


class SharedWork(Generic[V]):
    """One kind of value. Belongs to one event loop.

    Args:
        name: of the cache in the metrics.
        max_entries: 0 keeps nothing; work in flight is shared all the same.
        max_bytes: of all values as `size_of` tells; 0 keeps nothing.
        size_of: key and value -> memory in bytes, roughly.
        clock: monotonic seconds; deadlines are on it.
    """

    def __init__(
        self,
        name: str,
        max_entries: int,
        max_bytes: int,
        size_of: Callable[[Key, V], int],
        *,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._size_of = size_of
        self._metrics = metrics
        self._clock = clock
        self._kept: LruCache[V] = LruCache(max_entries, max_bytes)
        self._flights: SingleFlight[Worked[V]] = SingleFlight()
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """Rises whenever something is forgotten: what was begun before may rest on what is no longer trusted."""
        return self._epoch

    def look_up(self, key: Key) -> V | None:
        """The kept value of a key; counted, unless nothing can be kept at all."""
        if not self._kept.enabled:
            return None
        value = self._kept.get(key)
        self._metrics.count_lookup(self._name, hit=value is not None)
        return value

    def forget(self, unwanted: Callable[[Key], bool]) -> int:
        """Drop every kept value whose key is unwanted; says how many. Work in flight goes on, and is not kept."""
        self._epoch += 1
        return self._kept.drop(lambda key: isinstance(key, tuple) and unwanted(key))

    def keep(self, key: Key, value: V, since: int) -> None:
        """Keep a value that was made elsewhere, unless something has been forgotten since that epoch."""
        if since == self._epoch:
            self._kept.put(key, value, self._size_of(key, value))

    async def work_out(
        self,
        key: Key,
        work: Callable[[], Coroutine[Any, Any, Worked[V]]],
        urgency: Urgency,
        *,
        keep: bool = True,
        since: int | None = None,
    ) -> Worked[V]:
        """Join the work of a key, or do it. `look_up` comes first: this one asks the cache nothing.

        Callers of different lanes share nothing, or a hasty one would wait in the queue of a patient one. Work that was
        started by a hastier caller may run into that one's deadline; whoever still has time then starts it again.

        Args:
            key: says all that the value depends on.
            work: makes it.
            urgency: of the caller.
            keep: whether the value may be kept.
            since: the epoch in which the first thing was made that the value rests on; None = now.

        Raises:
            Exception: whatever the work raises, for every one of its callers.
        """
        epoch = self._epoch if since is None else since
        is_own = False

        async def kept_work() -> Worked[V]:
            nonlocal is_own
            is_own = True
            worked = await work()
            if keep:
                self.keep(key, worked.value, epoch)
            return worked

        while True:
            try:
                return await self._flights.run((key, urgency.lane), kept_work)
            except DeadlineError:
                # What was begun for this caller is not begun again: another process may be late by its own clock.
                if is_own or self._clock() >= urgency.deadline:
                    raise
