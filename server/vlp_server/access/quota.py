"""How much a caller may ask: a rate, a burst and a share of what is under way, all counted in cost.

Cost is what the core's queues count: one is a text token, or a patch of 32 x 32 pixels (see `prices`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

# What a caller who has waited long enough may ask at once, where no burst is given.
_BURST_S = 10.0
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What a caller may ask. 0 is no bound.

    Attributes:
        rate: cost a second, over time.
        burst: cost that may be asked at once by a caller who has been silent; 0: ten seconds of the rate.
        concurrency: cost under way at the same time.
    """

    rate: float = 0.0
    burst: float = 0.0
    concurrency: float = 0.0

    @property
    def bucket_size(self) -> float:
        """Cost that the caller's bucket holds when it is full."""
        return self.burst or self.rate * _BURST_S


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnQuota:
    """What a key has of its own; None: as everybody."""

    rate: float | None = None
    burst: float | None = None
    concurrency: float | None = None

    def over(self, defaults: Quota) -> Quota:
        """The quota that counts: its own where it has one."""
        # A burst belongs to a rate: that of all callers says nothing of a key with a rate of its own.
        burst = defaults.burst if self.rate is None else 0.0
        return Quota(
            rate=defaults.rate if self.rate is None else self.rate,
            burst=burst if self.burst is None else self.burst,
            concurrency=defaults.concurrency if self.concurrency is None else self.concurrency,
        )

    @property
    def written(self) -> tuple[str, ...]:
        """As fields of a key's line, such as "rate=100"."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return tuple(f"{name}={value:g}" for name, value in values.items() if value is not None)


NAMES = tuple(field.name for field in fields(OwnQuota))
EXPECTED = f"{', '.join(f'{name}=' for name in NAMES[:-1])} or {NAMES[-1]}= and a number, 0 for no bound, each once"


def parse_own_quota(parts: Sequence[str]) -> OwnQuota | None:
    """Read the fields of a key's line that follow its hash, None where one of them is none."""
    values: dict[str, float] = {}
    for part in parts:
        name, _, number = (piece.strip() for piece in part.partition("="))
        if name not in NAMES or name in values or not _NUMBER.fullmatch(number):
            return None
        values[name] = float(number)
    return OwnQuota(**values)


def quota_faults(quota: Quota) -> list[str]:
    """What is wrong with a quota, each as "field: what"."""
    values = {field.name: getattr(quota, field.name) for field in fields(quota)}
    faults = [
        f"{name}: got {value:g}, expected 0 (no bound) or more"
        for name, value in values.items()
        if not (value >= 0 and math.isfinite(value))
    ]
    if quota.burst and not quota.rate:
        faults.append("burst: set without a rate, it bounds nothing; set rate, too")
    return faults
