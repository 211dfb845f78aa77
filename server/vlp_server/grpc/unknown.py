"""Methods that are not there: refused as the library would, and counted and logged as all other calls are."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import grpc

from vlp_server.grpc.call import CallRecord
from vlp_server.grpc.door import GrpcDoor
from vlp_server.grpc.reading import Context

# In place of names that callers make up, which figures and log do not repeat.
_OTHER = "other"


class UnknownMethods(grpc.GenericRpcHandler):  # type: ignore[misc]
    """To be asked last, for it has an answer to every method.

    Args:
        door: counts and logs.
    """

    def __init__(self, door: GrpcDoor) -> None:
        self._door = door

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The refusal, which reads no message."""
        return grpc.stream_stream_rpc_method_handler(self._refuse)

    async def _refuse(self, _: object, context: Context) -> AsyncGenerator[bytes]:
        record = CallRecord.begin(_OTHER, context)
        self._door.observe(record, grpc.StatusCode.UNIMPLEMENTED)
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "there is no such method here", record.metadata())
        yield b""
