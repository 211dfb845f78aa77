"""What the limits count, by the name of the key; "" are the callers without one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import Metric

_PREFIX = "vlpserve_key_"
LIMITS = ("rate", "concurrency")


class LimitFigures:
    """Figures for Prometheus.

    Args:
        registry: that they are in; None: they are counted and shown to nobody.
    """

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._cost = Counter(
            f"{_PREFIX}cost", "Cost (text tokens and patches) that was asked and let in", ["key"], registry=registry
        )
        self._refused = Counter(
            f"{_PREFIX}refused", "Requests refused because of the key's limit", ["key", "limit"], registry=registry
        )
        self._under_way = Gauge(f"{_PREFIX}cost_under_way", "Cost under way", ["key"], registry=registry)

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


class NamelessFigures:
    """The figures of a registry without those that name keys: for readers who need not know who asks how much."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """As a registry does."""
        return (metric for metric in self._registry.collect() if not metric.name.startswith(_PREFIX))
