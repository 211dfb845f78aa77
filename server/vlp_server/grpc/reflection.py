"""Reflection: clients ask which methods there are, and what their messages hold. It needs no key, so it is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

REFLECTION_SERVICE: str = reflection.SERVICE_NAME
# Each stream holds a call for as long as it is open.
MAX_STREAMS = 16
_STREAM_S = 30.0


class _Reflection(reflection.aio.ReflectionServicer):  # type: ignore[misc]
    """The library's own, for so many streams at a time, each for so long."""

    def __init__(self, services: Sequence[str]) -> None:
        super().__init__(services)
        self._open = 0

    async def ServerReflectionInfo(
        self, requests: AsyncIterable[Any], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncGenerator[Any]:
        """Answers in the order of the questions."""
        if self._open >= MAX_STREAMS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many ask already; try again later")
        self._open += 1
        try:
            async with asyncio.timeout(_STREAM_S), aclosing(super().ServerReflectionInfo(requests, context)) as answers:
                async for answer in answers:
                    yield answer
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"a stream lasts {_STREAM_S:g} s; open another one")
        finally:
            self._open -= 1


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Let a server answer which services it has, reflection among them."""
    servicer = _Reflection([*services, REFLECTION_SERVICE])
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
