"""grpc.health.v1: what the service's readiness says, for the server as a whole and for each of its services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from vlp_spec.errors import TaskNotSupportedError

from vlp_server.grpc.call import VISION_LANGUAGE
from vlp_server.grpc.door import GrpcDoor

HEALTH_SERVICE = "grpc.health.v1.Health"
COLLECTIONS = "vlp.v1.Collections"
MODELS = "vlp.v1.Models"
_LOOK_S = 0.25
# Watchers need no key; each holds a call for as long as it likes.
_MAX_WATCHERS = 64
_Status = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Looks at the moment of the question; a watcher is told of changes.

    Args:
        door: whose service and room it tells of.
        others: names of further services on the same server, as ready as the whole.
    """

    def __init__(self, door: GrpcDoor, others: tuple[str, ...] = ()) -> None:
        self._door = door
        self._others = others
        self._watchers = 0

    async def Check(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """The state of a service now; NOT_FOUND for one that is not there."""
        status = self._status(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service[:80]!r} here")
        return _Status(status=status)

    async def Watch(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncGenerator[Any]:
        """The state of a service now and after each change, SERVICE_UNKNOWN for one that is not there."""
        if self._watchers >= _MAX_WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watch already; ask by Check")
        self._watchers += 1
        try:
            told = None
            while True:
                status = self._status(request.service)
                status = _Status.SERVICE_UNKNOWN if status is None else status
                if status != told:
                    told = status
                    yield _Status(status=status)
                await asyncio.sleep(_LOOK_S)
        finally:
            self._watchers -= 1

    def _status(self, service: str) -> int | None:
        if service not in ("", VISION_LANGUAGE, COLLECTIONS, MODELS, HEALTH_SERVICE, *self._others):
            return None
        return int(_Status.SERVING if self._serves(service) else _Status.NOT_SERVING)

    def _serves(self, service: str) -> bool:
        if self._door.room.closing:
            return False
        if service in (MODELS, HEALTH_SERVICE):
            return True  # also while no model is ready, and to find out why
        if not self._door.service.readiness().ready:
            return False
        return service != COLLECTIONS or self._keeps_collections()

    def _keeps_collections(self) -> bool:
        try:
            return bool(self._door.service.collections)
        except TaskNotSupportedError:
            return False
