"""One gRPC call, as grpc makes it for threads. Written by hand, as its twin in `vlp_client.aio`."""

from __future__ import annotations

from typing import Any

import grpc

from vlp_client.grpc_wire.rpc import Rpc, Shape

Metadata = list[tuple[str, str]]
RpcError = grpc.RpcError


def open_channel(target: str, credentials: Any | None, options: list[tuple[str, int]]) -> Any:
    """A channel; connects when it is needed."""
    if credentials is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, credentials, options=options)


def answer(
    channel: Any, rpc: Rpc, request: Any, timeout_s: float | None, metadata: Metadata
) -> tuple[Any, list[tuple[str, str]]]:
    """The one message that a method answers with, and its trailing metadata.

    Raises:
        RpcError: the call failed.
    """
    if rpc.shape is Shape.EXCHANGE:
        call = begun(channel, rpc, request, timeout_s, metadata)
        response = next(call, None)
        next(call, None)  # its end, with which the status comes
    else:
        method = channel.unary_unary(
            rpc.path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=rpc.response.FromString,
        )
        response, call = method.with_call(request, timeout=timeout_s, metadata=metadata)
    return response, list(call.trailing_metadata())


def begun(channel: Any, rpc: Rpc, request: Any, timeout_s: float | None, metadata: Metadata) -> Any:
    """A call whose answers are read one by one."""
    many = channel.stream_stream if rpc.shape is Shape.EXCHANGE else channel.unary_stream
    method = many(
        rpc.path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=rpc.response.FromString,
    )
    sent = iter([request]) if rpc.shape is Shape.EXCHANGE else request
    return method(sent, timeout=timeout_s, metadata=metadata)


def next_answer(call: Any) -> Any | None:
    """The next answer; None at the end."""
    return next(call, None)


def trailing_of(call: Any) -> list[tuple[str, str]]:
    """The trailing metadata of a call that has ended."""
    return list(call.trailing_metadata())


def close_channel(channel: Any) -> None:
    """Close a channel."""
    channel.close()
