"""What the door itself counts; the core's figures are the core's. Labels have few values: no path or id of a caller."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class DoorMetrics:
    """Figures of one HTTP door, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "vlpserve_http_requests",
            "Requests answered, by route, status and kind of fault",
            ("route", "method", "status", "kind"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "vlpserve_http_request_seconds",
            "Time from the headers of a request to the end of its answer",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.connections = Gauge("vlpserve_http_connections", "Open connections", registry=self.registry)
        self.in_flight = Gauge("vlpserve_http_in_flight", "Requests being read or answered", registry=self.registry)
        self.in_flight_bytes = Gauge(
            "vlpserve_http_in_flight_bytes",
            "Bytes of bodies and fetched pictures held by those requests",
            registry=self.registry,
        )

    def observe(self, route: str, method: str, status: int | str, kind: str | None, seconds: float) -> None:
        """Count one answered request."""
        known = method if method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH") else "other"
        self._requests.labels(route, known, str(status), kind or "").inc()
        self._seconds.labels(route).observe(seconds)
