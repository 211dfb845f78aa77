"""What a run has to reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Bounds; None: there is none.

    Attributes:
        max_p99_ms: of the latency of all requests together, from when they were due.
        max_error_share: of requests without a good answer, 0 to 1; those that were shed are among them.
        min_rate: good answers a second.
    """

    max_p99_ms: float | None = None
    max_error_share: float | None = None
    min_rate: float | None = None

    def missed(self, total: Mapping[str, Any]) -> list[str]:
        """Why a run does not pass, one sentence a bound; empty: it does. One without requests never does.

        Args:
            total: `vlp_loadtest.measures.summary` of the run.
        """
        reasons = [] if total["requests"] else ["no requests: nothing was measured"]
        p99 = total["latency_ms"]["p99"]
        if self.max_p99_ms is not None and (p99 is None or p99 > self.max_p99_ms):
            found = "no end (more than 1 in 100 had no good answer)" if p99 is None else f"{p99:.1f} ms"
            reasons.append(f"p99: got {found}, expected at most {self.max_p99_ms:g} ms")
        share = total["error_share"]
        if self.max_error_share is not None and share > self.max_error_share:
            reasons.append(f"errors: got a share of {share:.4f}, expected at most {self.max_error_share:g}")
        rate = total["rate_per_s"]
        if self.min_rate is not None and rate < self.min_rate:
            reasons.append(f"rate: got {rate:.2f}/s, expected at least {self.min_rate:g}/s")
        return reasons
