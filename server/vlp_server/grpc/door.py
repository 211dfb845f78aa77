"""What all methods of the gRPC door share: the service, the limits, the keys, and their room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from vlp_spec.errors import PermissionDeniedError

from vlp_server.access.keys import AccessKey, Role
from vlp_server.access.shown_key import check_role, key_of
from vlp_server.config.server import ServerConfig
from vlp_server.core.in_flight import InFlight
from vlp_server.grpc.access import HOW, sent_keys
from vlp_server.grpc.call import Call, CallRecord
from vlp_server.grpc.door_metrics import DoorMetrics
from vlp_server.grpc.method_roles import role_of
from vlp_server.grpc.reading import MessageReader
from vlp_server.intake.access_log import Exchange
from vlp_server.intake.fetch import UrlFetcher
from vlp_server.intake.picture_source import Fetch
from vlp_server.intake.shared import Shared

if TYPE_CHECKING:
    from vlp_server.core.service import Service

# How long a message may take to arrive before it counts as slow.
_PATIENCE_S = 1.0
_MIN_SLOW = 4


class GrpcDoor:
    """One gRPC door of a service.

    Args:
        service: answers; started and closed by whoever made it.
        config: the whole configuration.
        shared: with the other doors of the process; None makes it from the configuration.
        fetcher: fetches pictures by URL where the configuration allows it; None makes one from the configuration.
    """

    def __init__(
        self, service: Service, config: ServerConfig, shared: Shared | None = None, fetcher: UrlFetcher | None = None
    ) -> None:
        self.service = service
        self.config = config
        self.metrics = DoorMetrics(service.metrics)
        shared = shared or Shared.of(config, service.metrics)
        self.room, self.limits, self.access_log = shared.room, shared.limits, shared.access_log
        self._ring = shared.ring
        self.in_flight = InFlight()
        # Bytes count as held when a message has arrived; half of one is bounded by how many there may be.
        self.reader = MessageReader(
            max(_MIN_SLOW, config.http.max_in_flight_bytes // config.grpc.max_message_bytes), _PATIENCE_S
        )
        self._fetch: Fetch | None = None
        if config.url_fetch.enabled:
            self._fetch = (fetcher or UrlFetcher(config.url_fetch)).fetch

    @contextmanager
    def let_in(self, record: CallRecord, context: grpc.aio.ServicerContext[Any, Any]) -> Iterator[Call]:
        """Count a call as inside for the time of its answer.

        Raises:
            UnauthenticatedError, PermissionDeniedError: its key does not allow it.
            RateLimitedError: the caller asks more than its limits allow.
            OverloadedError, UnavailableError: see Room.enter.
        """
        key = self._key_of(record, context)
        with (
            self.limits.admit(key) as admitted,
            self.room.enter() as take,
            self.in_flight.enter(),
            self.metrics.in_flight.track_inprogress(),
        ):
            yield Call.begin(self.config, record, context, take=take, fetch=self._fetch, admitted=admitted)

    def observe(self, record: CallRecord, status: grpc.StatusCode) -> None:
        """Count and log a call that has ended."""
        seconds = record.seconds()
        self.metrics.observe(record.method, status.name, record.kind, seconds)
        if self.access_log is not None:
            exchange = Exchange("gRPC", record.peer, status.name, record.method, record.bytes_in, record.bytes_out)
            self.access_log.write(record, exchange, seconds)

    def _key_of(self, record: CallRecord, context: grpc.aio.ServicerContext[Any, Any]) -> AccessKey | None:
        """The caller's key; None where nobody is asked for one."""
        needed = role_of(record.method)
        if self._ring is not None:
            key = key_of(self._ring, sent_keys(context.invocation_metadata() or ()), HOW)
            record.key = key.name
            check_role(key, needed)
            return key
        if needed is Role.ADMIN and not self.config.http.admin:
            raise PermissionDeniedError(
                "changing models is closed, because this server asks nobody for a key: give it keys "
                "(access.keys_file), or set http.admin where only its operators reach it"
            )
        return None
