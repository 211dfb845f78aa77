"""A bucket that fills at a steady rate, and from which what is asked is paid. Pure: time comes as an argument."""

from __future__ import annotations


class TokenBucket:
    """Full at the beginning.

    Args:
        rate: tokens a second, above 0.
        size: tokens at most, above 0.
        now: seconds of a clock that never goes back.
    """

    def __init__(self, rate: float, size: float, now: float) -> None:
        self.rate = rate
        self.size = size
        self._level = size
        self._counted = now

    def level(self, now: float) -> float:
        """Tokens in it; below 0 after something that was larger than the bucket."""
        return min(self.size, self._level + max(0.0, now - self._counted) * self.rate)

    def wait_s(self, cost: float, now: float) -> float:
        """Seconds until `cost` can be paid, 0 when it can be now.

        What costs more than the bucket holds is paid from a full one, and the rest is owed: it must be possible at all.
        """
        return max(0.0, (min(cost, self.size) - self.level(now)) / self.rate)

    def take(self, cost: float, now: float) -> None:
        """Pay, whether it can be paid or not."""
        self._level = self.level(now) - cost
        self._counted = now

    def full_in_s(self, now: float) -> float:
        """Seconds until it is full, when nothing more is asked."""
        return (self.size - self.level(now)) / self.rate
