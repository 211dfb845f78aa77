"""What the limits count, by the name of the key; "" are the callers without one."""

from __future__ import annotations

import contextlib

from prometheus_client import CollectorRegistry, Counter, Gauge

LIMITS = ("rate", "concurrency")


class LimitFigures:
    """Figures for Prometheus.

    Args:
        registry: that they are in; None: they are counted and shown to nobody.
    """

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._cost = Counter(
            "vlpserve_key_cost", "Cost (text tokens and patches) that was asked and let in", ["key"], registry=registry
        )
        self._refused = Counter(
            "vlpserve_key_refused", "Requests refused because of the key's limit", ["key", "limit"], registry=registry
        )
        self._under_way = Gauge("vlpserve_key_cost_under_way", "Cost under way", ["key"], registry=registry)

    def paid(self, name: str, cost: float) -> None:
        """A request of this key was let in, or let go on, at this cost."""
        self._cost.labels(name).inc(cost)

    def refused(self, name: str, limit: str) -> None:
        """A request of this key was refused; `limit` is "rate" or "concurrency"."""
        self._refused.labels(name, limit).inc()

    def under_way(self, name: str, cost: float) -> None:
        """What of this key is under way now."""
        self._under_way.labels(name).set(cost)

    def forget(self, name: str) -> None:
        """Drop the figures of a key of which nothing is remembered."""
        for metric in (self._cost, self._under_way):
            with contextlib.suppress(KeyError):
                metric.remove(name)
        for limit in LIMITS:
            with contextlib.suppress(KeyError):
                self._refused.remove(name, limit)
