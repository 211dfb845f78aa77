"""What all methods of the gRPC door share: the service, the limits, the keys, and their room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc.aio
from vlp_spec.errors import PermissionDeniedError

from vlp_server.access.key_ring import KeyRing
from vlp_server.access.keys import Role
from vlp_server.config.server import ServerConfig
from vlp_server.grpc.access import key_for
from vlp_server.grpc.call import Call, CallRecord
from vlp_server.grpc.door_metrics import DoorMetrics
from vlp_server.grpc.method_roles import role_of
from vlp_server.intake.fetch import UrlFetcher
from vlp_server.intake.picture_source import Fetch
from vlp_server.intake.room import Room

if TYPE_CHECKING:
    from vlp_server.core.service import Service


class GrpcDoor:
    """One gRPC door of a service.

    Args:
        service: answers; started and closed by whoever made it.
        config: the whole configuration.
        room: shared with the other doors of the process; None makes one from the configuration.
        fetcher: fetches pictures by URL where the configuration allows it; None makes one from the configuration.
    """

    def __init__(
        self, service: Service, config: ServerConfig, room: Room | None = None, fetcher: UrlFetcher | None = None
    ) -> None:
        self.service = service
        self.config = config
        self.room = room or Room(config.http.max_in_flight, config.http.max_in_flight_bytes)
        self.metrics = DoorMetrics(service.metrics)
        self._fetch: Fetch | None = None
        if config.url_fetch.enabled:
            self._fetch = (fetcher or UrlFetcher(config.url_fetch)).fetch
        self._ring: KeyRing | None = None
        if config.access.asks_for_keys:
            self._ring = KeyRing(config.access.keys, config.access.keys_file)

    @contextmanager
    def let_in(self, record: CallRecord, context: grpc.aio.ServicerContext[Any, Any]) -> Iterator[Call]:
        """Count a call as inside for the time of its answer.

        Raises:
            UnauthenticatedError, PermissionDeniedError: its key does not allow it.
            OverloadedError, UnavailableError: see Room.enter.
        """
        self._check_key(record, context)
        with self.room.enter() as take, self.metrics.in_flight.track_inprogress():
            yield Call.begin(self.config, record, context, take, self._fetch)

    def _check_key(self, record: CallRecord, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        needed = role_of(record.method)
        if self._ring is not None:
            record.key = key_for(self._ring, context.invocation_metadata() or (), needed).name
        elif needed is Role.ADMIN and not self.config.http.admin:
            raise PermissionDeniedError(
                "changing models is closed, because this server asks nobody for a key: give it keys "
                "(access.keys_file), or set http.admin where only its operators reach it"
            )
