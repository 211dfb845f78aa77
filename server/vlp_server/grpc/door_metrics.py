"""What the door itself counts, in the registry of its service. No name or id of a caller is a label."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class DoorMetrics:
    """Figures of one gRPC door.

    Args:
        registry: of the service, which has one such door at most.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            "vlpserve_grpc_calls",
            "Calls answered, by method, status and kind of fault",
            ("method", "status", "kind"),
            registry=registry,
        )
        self._seconds = Histogram(
            "vlpserve_grpc_call_seconds",
            "Time from the metadata of a call to the end of its answer",
            ("method",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("vlpserve_grpc_in_flight", "Calls being read or answered", registry=registry)

    def observe(self, method: str, status: str, kind: str | None, seconds: float) -> None:
        """Count one answered call."""
        self._calls.labels(method, status, kind or "").inc()
        self._seconds.labels(method).observe(seconds)
