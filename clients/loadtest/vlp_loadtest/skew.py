"""Zipf's law: a few things are asked about often, most of them rarely."""

from __future__ import annotations

import itertools
import random
from bisect import bisect


class Skewed:
    """Draws numbers below `count`, number k with a probability that goes with 1 / (k + 1) ** exponent.

    Args:
        count: at least 1.
        exponent: 0 draws all alike; 1 is Zipf's own, and near to what caches of pictures see.

    Raises:
        ValueError: either is out of range.
    """

    def __init__(self, count: int, exponent: float) -> None:
        if count < 1 or not 0 <= exponent <= 10:
            raise ValueError(f"skew: got {count} things and exponent {exponent}, expected 1 or more, and 0 to 10")
        self._bounds = list(itertools.accumulate((number + 1) ** -exponent for number in range(count)))

    def draw(self, chance: random.Random) -> int:
        """A number."""
        return min(bisect(self._bounds, chance.random() * self._bounds[-1]), len(self._bounds) - 1)
