"""grpc.health.v1: what the service's readiness says, for the server as a whole and for each of its services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from vlp_spec.errors import InvalidArgumentError, TaskNotSupportedError, VlpError

from vlp_server.grpc.call import VISION_LANGUAGE
from vlp_server.grpc.door import GrpcDoor
from vlp_server.grpc.keyless import KeylessCalls
from vlp_server.grpc.reading import Context, MessageReader
from vlp_server.grpc.statuses import fault_of

HEALTH_SERVICE = "grpc.health.v1.Health"
COLLECTIONS = "vlp.v1.Collections"
MODELS = "vlp.v1.Models"
_LOOK_S = 0.25
# Watchers need no key; each holds a call for as long as it likes.
_MAX_WATCHERS = 64
# Questions of a few bytes, which come with the headers of their calls.
_MAX_READ = 8
_PATIENCE_S = 0.1
_READ_S = 5.0
_Status = health_pb2.HealthCheckResponse


class Health:
    """Looks at the moment of the question; a watcher is told of changes.

    It needs no key and has no place inside, so its messages are read by the door's own means: what the library reads
    has no time and no bound.

    Args:
        door: whose service and room it tells of.
        calls: counts those to Check.
        others: names of further services on the same server, as ready as the whole.
    """

    def __init__(self, door: GrpcDoor, calls: KeylessCalls, others: tuple[str, ...] = ()) -> None:
        self._calls = calls
        self._door = door
        self._others = others
        self._watchers = 0
        self._reader = MessageReader(_MAX_READ, _PATIENCE_S)

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server needs to answer the service's methods."""
        handlers = {
            "Check": grpc.stream_unary_rpc_method_handler(self._check),
            "Watch": grpc.stream_stream_rpc_method_handler(self._watch),
        }
        return grpc.method_handlers_generic_handler(HEALTH_SERVICE, handlers)

    async def _check(self, _: object, context: Context) -> bytes:
        """The state of a service now; NOT_FOUND for one that is not there."""
        await self._calls.enter(context)
        service = await self._service_of(context)
        status = self._status(service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {service[:80]!r} here")
        return _answer(status)

    async def _watch(self, _: object, context: Context) -> AsyncGenerator[bytes]:
        """The state of a service now and after each change, SERVICE_UNKNOWN for one that is not there."""
        if self._watchers >= _MAX_WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watch already; ask by Check")
        self._watchers += 1
        try:
            service = await self._service_of(context)
            told = None
            while True:
                status = self._status(service)
                status = int(_Status.SERVICE_UNKNOWN) if status is None else status
                if status != told:
                    told = status
                    yield _answer(status)
                await asyncio.sleep(_LOOK_S)
        finally:
            self._watchers -= 1

    async def _service_of(self, context: Context) -> str:
        """The service that is asked for; a call that does not tell ends with a status."""
        fault: VlpError
        try:
            data = await self._reader.read(context, _READ_S)
            if data is not None:
                return str(health_pb2.HealthCheckRequest.FromString(data).service)
            fault = InvalidArgumentError("the call brings no message")
        except DecodeError:
            fault = InvalidArgumentError("the bytes are no grpc.health.v1.HealthCheckRequest")
        except VlpError as error:
            fault = error
        told = fault_of(fault)
        await context.abort(told.status, told.details, told.metadata())
        raise AssertionError("the library has ended the call")

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


def _answer(status: int | None) -> bytes:
    return bytes(_Status(status=status).SerializeToString())
