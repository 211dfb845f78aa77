"""What all routes of the HTTP door share: the service, the limits, and how many requests are inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vlp_server.config.server import ServerConfig
from vlp_server.http.body import BodyLimits
from vlp_server.http.door_metrics import DoorMetrics
from vlp_server.intake.fetch import UrlFetcher
from vlp_server.intake.memory import TakeBytes
from vlp_server.intake.picture_source import Fetch
from vlp_server.intake.room import Room

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
        self.room = Room(config.http.max_in_flight, config.http.max_in_flight_bytes, self.metrics.in_flight_bytes.set)

    @property
    def closing(self) -> bool:
        """Whether the server is stopping."""
        return self.room.closing

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
