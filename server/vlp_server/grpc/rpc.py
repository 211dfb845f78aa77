"""What every method goes through: key, room, its message, its answer, and one form of fault.

The messages are read by the door itself and not by the library: a call is let in, or refused, before its message is
read; and bytes that are no message are the caller's fault and not the server's. To the wire one message and a stream of
one message are the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from vlp_spec.errors import ErrorKind, InternalError, InvalidArgumentError, VlpError

from vlp_server.grpc.call import Call, CallRecord
from vlp_server.grpc.door import GrpcDoor
from vlp_server.grpc.reading import Context
from vlp_server.grpc.statuses import Fault, fault_of
from vlp_server.grpc.wire_parts import PART_BYTES, count_parts, too_many_parts

logger = logging.getLogger(__name__)

Q = TypeVar("Q", bound=Message)
# A message of more parts is counted in a thread.
_INLINE_PARTS = 4096


@dataclass(frozen=True, slots=True)
class Sent(Generic[Q]):
    """A message that came.

    Attributes:
        size_bytes: that it holds, with what its parts take beside their own bytes.
        parts: values, texts and messages in it.
    """

    message: Q
    size_bytes: int
    parts: int


@dataclass(frozen=True, slots=True)
class Unary(Generic[Q]):
    """A method of one message and one answer, which may be written already."""

    request: type[Q]
    answer: Callable[[Call, Q], Awaitable[Message | bytes]]


@dataclass(frozen=True, slots=True)
class Streamed(Generic[Q]):
    """A method of one message and a stream of answers; or of two streams."""

    request: type[Q]
    answers: Callable[[Call, Q], AsyncGenerator[Message]] | None = None
    exchange: Callable[[Call, AsyncGenerator[Sent[Q]]], AsyncGenerator[Message]] | None = None


Method = Unary[Any] | Streamed[Any]


def service_handler(door: GrpcDoor, service: str, methods: dict[str, Method]) -> grpc.GenericRpcHandler:
    """What a server needs to answer the methods of a service.

    Args:
        door: shared by all.
        service: package.Service.
        methods: by name.
    """
    handlers = {name: _handler(door, f"/{service}/{name}", method) for name, method in methods.items()}
    return grpc.method_handlers_generic_handler(service, handlers)


def _handler(door: GrpcDoor, path: str, method: Method) -> grpc.RpcMethodHandler:
    if isinstance(method, Unary):

        async def answer(_: object, context: Context) -> bytes:
            parts = _answered(door, path, context, lambda call: _one(door, call, context, method))
            return b"".join([part async for part in parts])

        return grpc.stream_unary_rpc_method_handler(answer)

    async def stream(_: object, context: Context) -> AsyncGenerator[bytes]:
        async with aclosing(
            _answered(door, path, context, lambda call: _several(door, call, context, method))
        ) as parts:
            async for part in parts:
                yield part

    return grpc.stream_stream_rpc_method_handler(stream)


async def _one(door: GrpcDoor, call: Call, context: Context, method: Unary[Q]) -> AsyncGenerator[bytes]:
    request = await _only_message(door, call, context, method.request)
    answer = await method.answer(call, request)
    yield answer if isinstance(answer, bytes) else answer.SerializeToString()


async def _several(door: GrpcDoor, call: Call, context: Context, method: Streamed[Q]) -> AsyncGenerator[bytes]:
    if method.exchange is not None:
        # How long its sender may be silent is for the method to say, which knows whether it waits for an answer.
        answers = method.exchange(call, _messages(door, call, context, method.request, None))
    elif method.answers is not None:
        answers = method.answers(call, await _only_message(door, call, context, method.request))
    else:
        raise InternalError(detail=f"{method}: answers nothing")
    async with aclosing(answers) as messages:
        async for message in messages:
            yield message.SerializeToString()


async def _answered(
    door: GrpcDoor,
    path: str,
    context: Context,
    work: Callable[[Call], AsyncGenerator[bytes]],
) -> AsyncGenerator[bytes]:
    """The answers of a call; its faults end it with a status, and its end is counted and logged."""
    record = CallRecord.begin(path, context)
    status = grpc.StatusCode.CANCELLED
    fault: Fault | None = None
    try:
        try:
            with door.let_in(record, context) as call:
                async with aclosing(work(call)) as parts:
                    async for part in parts:
                        record.bytes_out += len(part)
                        yield part
            context.set_trailing_metadata(record.metadata())
            status = grpc.StatusCode.OK
        except VlpError as error:
            fault = _noted_fault(record, error)
        except Exception as error:
            if context.cancelled() or context.done():  # it is the library that tells so of a caller who has left
                raise
            logger.exception("request %s: a fault that nothing handles", record.request_id)
            fault = _noted_fault(record, InternalError(detail=repr(error)))
        if fault is not None:
            status = fault.status
            await context.abort(fault.status, fault.details, (*fault.metadata(), *record.metadata()))
    finally:
        door.observe(record, status)


def _noted_fault(record: CallRecord, error: VlpError) -> Fault:
    """The fault of an error, whose detail is logged, because its caller is not told."""
    fault = fault_of(error)
    record.kind = fault.kind
    if fault.kind == ErrorKind.INTERNAL:
        logger.error("request %s: %s", record.request_id, error.detail or error, exc_info=error)
    elif error.detail:
        logger.info("request %s: %s (%s)", record.request_id, fault.kind, error.detail)
    return fault


async def _only_message(door: GrpcDoor, call: Call, context: Context, kind: type[Q]) -> Q:
    timeout_s = door.config.http.body_timeout_s
    async with aclosing(_messages(door, call, context, kind, timeout_s)) as messages:
        async for sent in messages:
            return sent.message
    raise InvalidArgumentError("the call brings no message")


async def _messages(
    door: GrpcDoor, call: Call, context: Context, kind: type[Q], timeout_s: float | None
) -> AsyncGenerator[Sent[Q]]:
    """The messages of a call as they come.

    Raises:
        DeadlineError: the next one is not there in time.
        InvalidArgumentError: its bytes are no such message.
        OverloadedError: other requests hold the memory that it needs, or it is slow and so are too many others.
        TooLargeError: it has more parts than any call needs.
    """
    while (data := await door.reader.read(context, timeout_s)) is not None:
        call.record.bytes_in += len(data)
        call.take(len(data))
        try:
            parts = await _parts_of(kind, data)
            call.take(PART_BYTES * parts)
            message = kind.FromString(data)
        except DecodeError:
            raise InvalidArgumentError(f"the bytes are no {kind.DESCRIPTOR.full_name}") from None
        yield Sent(message, len(data) + PART_BYTES * parts, parts)


async def _parts_of(kind: type[Message], data: bytes) -> int:
    """How many parts a message has; most have few."""
    count = count_parts(kind.DESCRIPTOR, data, _INLINE_PARTS)
    if count is None:
        count = await asyncio.to_thread(count_parts, kind.DESCRIPTOR, data)
    if count is None:
        raise too_many_parts()
    return count
