"""What became of requests, and the figures of it.

A request's latency counts from the moment at which it was due, not from the one at which it was sent: who waits for a
free connection waits, too. One that got no good answer, or was never sent because too many were waiting, counts as one
that took for ever: "p99" is the time within which 99 of 100 that were due had a good answer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

SHED = "shed"
"""Fault of a request that was not sent, since too many were waiting."""
UNANSWERED = "unanswered"
"""Fault of one whose answer had not come when the run was over."""
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
LATE_S = 0.05
_LATE_SHARE = 0.01
_BUSY_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Measured:
    """One request. Times are seconds since the start of the run.

    Attributes:
        due_s: when it was to be sent.
        noticed_s: when the client got to it; much later than `due_s`: the client itself could not keep up.
        sent_s: None: never.
        done_s: when the answer was there; None: it never was.
        fault: None where the answer was good.
    """

    task: str
    due_s: float
    noticed_s: float
    sent_s: float | None
    done_s: float | None
    fault: str | None

    @property
    def latency_s(self) -> float:
        """From when it was due; infinite without a good answer."""
        return math.inf if self.fault is not None or self.done_s is None else self.done_s - self.due_s


def summary(measured: Sequence[Measured], duration_s: float) -> dict[str, Any]:
    """The figures of some requests: counts, faults by kind, requests/s, and times in ms; null: for ever.

    Args:
        measured: the requests.
        duration_s: in which they were due; what was answered after it counts over the time until then.
    """
    rated_s = _rated_s(measured, duration_s)
    good = [one for one in measured if one.fault is None]
    faults = Counter(one.fault for one in measured if one.fault is not None)
    bad = sum(faults.values())
    service = [one.done_s - one.sent_s for one in good if one.done_s is not None and one.sent_s is not None]
    return {
        "requests": len(measured),
        "ok": len(good),
        "failed": bad - faults[SHED] - faults[UNANSWERED],
        "shed": faults[SHED],
        "unanswered": faults[UNANSWERED],
        "error_share": round(bad / len(measured), 6) if measured else 0.0,
        "faults": dict(sorted(faults.items())),
        "rate_per_s": round(len(good) / rated_s, 3) if rated_s > 0 else 0.0,
        "latency_ms": quantiles_ms([one.latency_s for one in measured]),
        "service_ms": quantiles_ms(service),
    }


def quantiles_ms(seconds: Sequence[float]) -> dict[str, float | None]:
    """p50, p90, p99 and max by the nearest rank, in ms; None: infinite, or there are none."""
    ordered = sorted(seconds)
    if not ordered:
        return dict.fromkeys(_QUANTILES)
    return {
        name: _milliseconds(ordered[max(0, math.ceil(quantile * len(ordered)) - 1)])
        for name, quantile in _QUANTILES.items()
    }


def by_task(measured: Sequence[Measured], duration_s: float) -> dict[str, dict[str, Any]]:
    """`summary` of every task, by name; the tasks' rates add up to that of all."""
    rated_s = _rated_s(measured, duration_s)
    groups: dict[str, list[Measured]] = {}
    for one in measured:
        groups.setdefault(one.task, []).append(one)
    return {task: summary(group, rated_s) for task, group in sorted(groups.items())}


def timeline(measured: Iterable[Measured]) -> list[dict[str, Any]]:
    """A row for each second at which requests were due."""
    return _grouped(measured, lambda one: int(one.due_s))


def client_health(measured: Sequence[Measured], cpu_share: float) -> dict[str, Any]:
    """Whether the client itself was the bottleneck, so that its figures are not the server's.

    Args:
        measured: all requests.
        cpu_share: of one core that the client's process used.
    """
    late = [one.noticed_s - one.due_s for one in measured]
    share = sum(value > LATE_S for value in late) / len(late) if late else 0.0
    return {
        "late_ms": quantiles_ms(late),
        "late_share": round(share, 4),
        "cpu_share": round(cpu_share, 3),
        "kept_up": share <= _LATE_SHARE and cpu_share < _BUSY_SHARE,
    }


def _rated_s(measured: Iterable[Measured], duration_s: float) -> float:
    """Over how long answers came: else those of the time after the last request would be too many a second."""
    return max([duration_s, *(one.done_s for one in measured if one.fault is None and one.done_s is not None)])


def _grouped(measured: Iterable[Measured], key: Callable[[Measured], int]) -> list[dict[str, Any]]:
    groups: dict[int, list[Measured]] = {}
    for one in measured:
        groups.setdefault(key(one), []).append(one)
    return [
        {
            "second": second,
            "requests": len(group),
            "errors": sum(one.fault is not None for one in group),
            **{name: value for name, value in quantiles_ms([one.latency_s for one in group]).items() if name != "p90"},
        }
        for second, group in sorted(groups.items())
    ]


def _milliseconds(seconds: float) -> float | None:
    return None if math.isinf(seconds) else round(1000 * seconds, 3)
