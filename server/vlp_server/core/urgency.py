"""How a request ranks among others."""

from __future__ import annotations

from dataclasses import dataclass

from vlp_spec.tasks import Lane


@dataclass(frozen=True, slots=True)
class Urgency:
    """Lane, and deadline in seconds on the service's clock."""

    lane: Lane
    deadline: float
