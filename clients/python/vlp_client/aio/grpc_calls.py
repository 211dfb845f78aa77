"""One gRPC call, as grpc.aio makes it. Written by hand, as its twin in `vlp_client.sync`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import grpc
import grpc.aio

from vlp_client.grpc_wire.rpc import Rpc, Shape

Metadata = list[tuple[str, str]]
T = TypeVar("T")
RpcError = grpc.aio.AioRpcError


def open_channel(target: str, credentials: Any | None, options: list[tuple[str, int]]) -> Any:
    """A channel; connects when it is needed."""
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, credentials, options=options)


async def answer(
    channel: Any, rpc: Rpc, request: Any, timeout_s: float | None, metadata: Metadata
) -> tuple[Any, list[tuple[str, str]]]:
    """The one message that a method answers with, and its trailing metadata.

    Raises:
        RpcError: the call failed.
    """
    if rpc.shape is Shape.EXCHANGE:
        call = begun(channel, rpc, request, timeout_s, metadata)
        response = await call.read()
        if response is grpc.aio.EOF:
            response = None
        else:
            await call.read()  # its end, with which the status comes
    else:
        method = channel.unary_unary(
            rpc.path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=rpc.response.FromString,
        )
        call = method(request, timeout=timeout_s, metadata=metadata)
        response = await call
    return response, list(await call.trailing_metadata())


def begun(channel: Any, rpc: Rpc, request: Any, timeout_s: float | None, metadata: Metadata) -> Any:
    """A call whose answers are read one by one."""
    many = channel.stream_stream if rpc.shape is Shape.EXCHANGE else channel.unary_stream
    method = many(
        rpc.path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=rpc.response.FromString,
    )
    sent = _once(request) if rpc.shape is Shape.EXCHANGE else request
    return method(sent, timeout=timeout_s, metadata=metadata)


async def next_answer(call: Any) -> Any | None:
    """The next answer; None at the end."""
    response = await call.read()
    return None if response is grpc.aio.EOF else response


async def trailing_of(call: Any) -> list[tuple[str, str]]:
    """The trailing metadata of a call that has ended."""
    return list(await call.trailing_metadata())


async def close_channel(channel: Any) -> None:
    """Close a channel."""
    await channel.close()


async def _once(request: T) -> AsyncIterator[T]:
    yield request
