"""How fast a model works off its queue, measured on the batches it has run."""

from __future__ import annotations

MIN_RETRY_S = 1.0
MAX_RETRY_S = 60.0
_KEEP = 0.8


class DrainRate:
    """Cost per second of engine time, the latest batches counting most.

    Args:
        workers: batches that run at a time.
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._cost = 0.0
        self._seconds = 0.0

    def observe(self, cost: int, seconds: float) -> None:
        """Note a finished batch: its items' cost, and how long it took."""
        self._cost = self._cost * _KEEP + cost
        self._seconds = self._seconds * _KEEP + max(seconds, 0.0)

    def seconds_for(self, cost: int) -> float:
        """Seconds until `cost` is worked off, 1 to 60; 1 before anything was measured."""
        if self._cost <= 0:
            return MIN_RETRY_S
        return min(MAX_RETRY_S, max(MIN_RETRY_S, cost * self._seconds / self._cost / self._workers))
