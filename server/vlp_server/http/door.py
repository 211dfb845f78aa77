"""What all routes of the HTTP door share: the service, the limits, and how many requests are inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vlp_spec.errors import OverloadedError, UnavailableError

from vlp_server.config.server import ServerConfig
from vlp_server.http.body import BodyLimits
from vlp_server.http.door_metrics import DoorMetrics
from vlp_server.http.fetch import UrlFetcher
from vlp_server.http.memory import MemoryBudget, TakeBytes
from vlp_server.http.pictures import Fetch
from vlp_server.oip.inference import OpenInference
from vlp_server.product_version import product_version

if TYPE_CHECKING:
    from vlp_server.core.service import Service


class Door:
    """One HTTP door of a service.

    Args:
        service: answers; started and closed by whoever made it.
        config: the whole configuration.
        fetcher: fetches pictures by URL where the configuration allows it; None makes one from the configuration.
    """

    def __init__(self, service: Service, config: ServerConfig, fetcher: UrlFetcher | None = None) -> None:
        self.service = service
        self.config = config
        self.metrics = DoorMetrics()
        self.body_limits = BodyLimits(config.http.body_limit_bytes, config.http.body_timeout_s)
        self.fetch: Fetch | None = None
        if config.url_fetch.enabled:
            self.fetch = (fetcher or UrlFetcher(config.url_fetch)).fetch
        self.oip = OpenInference(
            service, config.limits, version=product_version(), max_timeout_s=config.http.max_request_timeout_s
        )
        self.closing = False
        self._inside = 0
        self._memory = MemoryBudget(config.http.max_in_flight_bytes, self.metrics.in_flight_bytes.set)

    @contextmanager
    def admit(self) -> Iterator[TakeBytes]:
        """Count a request as inside; held before its body is read, so that waiting bodies are bounded too.

        Returns:
            what counts the bytes that the request holds, until it leaves.

        Raises:
            OverloadedError: too many are inside.
            UnavailableError: the server is stopping.
        """
        if self.closing:
            raise UnavailableError("the server is stopping; ask another one")
        if self._inside >= self.config.http.max_in_flight:
            raise OverloadedError(f"{self._inside} requests are inside already; try again later")
        self._inside += 1
        self.metrics.in_flight.set(self._inside)
        try:
            with self._memory.share() as take:
                yield take
        finally:
            self._inside -= 1
            self.metrics.in_flight.set(self._inside)
