"""Reflection: clients ask which methods there are, and what their messages hold. It needs no key, so it is bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection, reflection_pb2
from vlp_spec.errors import InvalidArgumentError, VlpError

from vlp_server.grpc.reading import Context, MessageReader
from vlp_server.grpc.statuses import fault_of
from vlp_server.oip.grpc_messages import message_pool

REFLECTION_SERVICE: str = reflection.SERVICE_NAME
# Each stream holds a call for as long as it is open.
MAX_STREAMS = 16
_STREAM_S = 30.0
# Streams between two questions, or amid one; far more are no person and no tool.
_MAX_SLOW = 8
_PATIENCE_S = 1.0


class _Pools:
    """Several pools of descriptors, asked one after the other: the Open Inference Protocol has one of its own."""

    def __init__(self, *pools: Any) -> None:
        self._pools = pools

    def FindFileByName(self, name: str) -> Any:
        """As a pool's; KeyError where none has it."""
        return self._first("FindFileByName", name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        """As a pool's; KeyError where none has it."""
        return self._first("FindFileContainingSymbol", symbol)

    def FindMessageTypeByName(self, name: str) -> Any:
        """As a pool's; KeyError where none has it."""
        return self._first("FindMessageTypeByName", name)

    def FindExtensionByNumber(self, message: Any, number: int) -> Any:
        """As a pool's; KeyError where none has it."""
        return self._first("FindExtensionByNumber", message, number)

    def FindAllExtensions(self, message: Any) -> Any:
        """As the pool's that has the message."""
        return message.file.pool.FindAllExtensions(message)

    def _first(self, method: str, *wanted: Any) -> Any:
        for pool in self._pools[:-1]:
            with contextlib.suppress(KeyError):
                return getattr(pool, method)(*wanted)
        return getattr(self._pools[-1], method)(*wanted)


class _Reflection(reflection.aio.ReflectionServicer):  # type: ignore[misc]
    """The library's own, for so many streams at a time, each for so long."""

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__(services, pool=_Pools(message_pool(), descriptor_pool.Default()))
        self._open = 0
        self._reader = MessageReader(_MAX_SLOW, _PATIENCE_S)

    async def ServerReflectionInfo(self, _: object, context: Context) -> AsyncGenerator[Any]:
        """Answers in the order of the questions."""
        if self._open >= MAX_STREAMS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many ask already; try again later")
        self._open += 1
        try:
            async with asyncio.timeout(_STREAM_S), aclosing(self._answers(context)) as answers:
                async for answer in answers:
                    yield answer
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"a stream lasts {_STREAM_S:g} s; open another one")
        except VlpError as error:
            fault = fault_of(error)
            await context.abort(fault.status, fault.details, fault.metadata())
        finally:
            self._open -= 1

    def _answers(self, context: Context) -> AsyncGenerator[Any]:
        answers: AsyncGenerator[Any] = super().ServerReflectionInfo(self._questions(context), context)
        return answers

    async def _questions(self, context: Context) -> AsyncGenerator[Any]:
        """Read by the door's own means: those of the library have no bound."""
        while (data := await self._reader.read(context, None)) is not None:
            try:
                question = reflection_pb2.ServerReflectionRequest.FromString(data)
            except DecodeError:
                raise InvalidArgumentError("the bytes are no ServerReflectionRequest") from None
            yield question


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Let a server answer which services it has, reflection among them."""
    servicer = _Reflection([*services, REFLECTION_SERVICE])
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(REFLECTION_SERVICE, methods),))
