"""What all routes of the HTTP door share: the service, the limits, and how many requests are inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vlp_server.access.limit_figures import LimitFigures
from vlp_server.access.limits import AccessLimits
from vlp_server.config.server import ServerConfig
from vlp_server.http.body import BodyLimits
from vlp_server.http.context import RequestContext
from vlp_server.http.door_metrics import DoorMetrics
from vlp_server.http.problems import Problem
from vlp_server.intake.access_log import AccessLog, Exchange
from vlp_server.intake.fetch import UrlFetcher
from vlp_server.intake.memory import TakeBytes
from vlp_server.intake.picture_source import Fetch
from vlp_server.intake.room import Room
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
        limits: of the callers, where another door shares them; None makes them from the configuration.
    """

    def __init__(
        self,
        service: Service,
        config: ServerConfig,
        fetcher: UrlFetcher | None = None,
        limits: AccessLimits | None = None,
    ) -> None:
        self.service = service
        self.config = config
        self.metrics = DoorMetrics()
        figures = LimitFigures(self.metrics.registry)
        self.access_log = AccessLog(config.log) if config.log.access else None
        self.limits = limits or AccessLimits(config.access.quota, figures=figures)
        self.body_limits = BodyLimits(config.http.body_limit_bytes, config.http.body_timeout_s)
        self.fetch: Fetch | None = None
        if config.url_fetch.enabled:
            self.fetch = (fetcher or UrlFetcher(config.url_fetch)).fetch
        self.room = Room(config.http.max_in_flight, config.http.max_in_flight_bytes, self.metrics.in_flight_bytes.set)
        self.oip = OpenInference(
            service, config.limits, version=product_version(), max_timeout_s=config.http.max_request_timeout_s
        )

    @property
    def closing(self) -> bool:
        """Whether the server is stopping."""
        return self.room.closing

    def note_refused(self, problem: Problem, exchange: Exchange, request_id: str) -> None:
        """Count and log what the connection itself refused, before there was a request for the application."""
        self.metrics.observe(exchange.route, exchange.method, exchange.status, problem.kind, 0.0)
        if self.access_log is not None:
            self.access_log.write(RequestContext(request_id, kind=problem.kind), exchange, 0.0)

    @contextmanager
    def admit(self) -> Iterator[TakeBytes]:
        """Count a request as inside.

        Returns:
            what counts the bytes that the request holds, until it leaves.

        Raises:
            OverloadedError, UnavailableError: see Room.enter.
        """
        with self.room.enter() as take, self.metrics.in_flight.track_inprogress():
            yield take
