"""When requests are to be sent: a process that knows nothing of the answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import StrEnum


class ArrivalProcess(StrEnum):
    """How the times between arrivals are drawn."""

    POISSON = "poisson"
    CONSTANT = "constant"


def arrival_times(rate_per_s: float, process: ArrivalProcess, chance: random.Random) -> Iterator[float]:
    """Seconds since the start at which requests are due, rising, without an end.

    Args:
        rate_per_s: arrivals a second on average.
        process: many independent callers make a Poisson process; a clock makes a constant one.
        chance: draws the former.

    Raises:
        ValueError: the rate is not above 0.
    """
    if not rate_per_s > 0:
        raise ValueError(f"rate: got {rate_per_s}, expected a number above 0")
    return _poisson(rate_per_s, chance) if process is ArrivalProcess.POISSON else _constant(rate_per_s)


def _poisson(rate_per_s: float, chance: random.Random) -> Iterator[float]:
    due_s = 0.0
    while True:
        due_s += chance.expovariate(rate_per_s)
        yield due_s


def _constant(rate_per_s: float) -> Iterator[float]:
    number = 0
    while True:
        yield number / rate_per_s  # not a sum, whose error would grow
        number += 1
