"""ServerLive and ServerReady of the Open Inference Protocol: no key, no place inside, and nothing to read."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from vlp_server.grpc.door import GrpcDoor
from vlp_server.grpc.keyless import KeylessCalls
from vlp_server.grpc.reading import Context
from vlp_server.oip.grpc_messages import SERVICE, message_class
from vlp_server.oip.inference import OpenInference


def oip_health_handler(door: GrpcDoor, inference: OpenInference, calls: KeylessCalls) -> grpc.GenericRpcHandler:
    """What a server asks before the service itself, which would wait for a message and count for nothing.

    Args:
        door: whose room it tells of.
        inference: what is live or ready.
        calls: counts them.
    """

    def handler(name: str, field: str, state: Callable[[], bool]) -> grpc.RpcMethodHandler:
        async def answer(_: object, context: Context) -> bytes:
            await calls.enter(context)
            message = message_class(f"{name}Response")(**{field: state()})
            return bytes(message.SerializeToString())

        return grpc.stream_unary_rpc_method_handler(answer)

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "ServerLive": handler("ServerLive", "live", inference.live),
            "ServerReady": handler("ServerReady", "ready", lambda: inference.ready() and not door.room.closing),
        },
    )
