"""The Open Inference Protocol v2 over gRPC: the service, to be added to a server that others make and bound."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from vlp_spec.errors import (
    CancelledError,
    DeadlineError,
    InvalidArgumentError,
    ModelNotFoundError,
    UnavailableError,
    VlpError,
)

from vlp_server.oip.gate import Gate, OpenGate, Passed
from vlp_server.oip.grpc_faults import abort, told
from vlp_server.oip.grpc_messages import SERVICE, message_class, methods, parser, whole
from vlp_server.oip.grpc_records import read_message, write_message
from vlp_server.oip.grpc_stream import OrderedAnswers
from vlp_server.oip.inference import OpenInference
from vlp_server.oip.pricing import request_weight

logger = logging.getLogger(__name__)
_Answer = Callable[[Any, Any, Passed], Awaitable[Any]]
OPEN_METHODS = ("ServerLive", "ServerReady")
"""What needs no API key; everything else needs the role that reads."""


def add_inference_service(server: grpc.aio.Server, inference: OpenInference, gate: Gate | None = None) -> None:
    """Let a server that was not started yet answer the protocol.

    Message sizes and TLS are the server's; a method that the service does not have answers UNIMPLEMENTED.

    Args:
        server: of grpc.aio.
        inference: the same one as other doors have, for they share its statistics.
        gate: lets calls in; None: all are.
    """
    gate = gate or OpenGate()
    service = _InferenceService(inference, gate)
    handlers = {}
    for name, method in methods().items():
        write = message_class(method.output_type.name).SerializeToString
        # Messages are read when the gate has let the call in. To the wire one message is a stream of one.
        if method.server_streaming:
            handlers[name] = grpc.stream_stream_rpc_method_handler(service.stream_infer, response_serializer=write)
            continue
        answer = _guarded(name, service.answers[name], gate, parser(method.input_type.name))
        handlers[name] = grpc.stream_unary_rpc_method_handler(answer, response_serializer=write)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


class _InferenceService:
    """Answers by method.

    Attributes:
        answers: name of a unary method -> what answers it, given the request and grpc's context.
    """

    def __init__(self, inference: OpenInference, gate: Gate) -> None:
        self._inference = inference
        self._gate = gate
        self.answers: dict[str, _Answer] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._statistics,
            "RepositoryIndex": self._index,
        }

    async def stream_infer(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """Answer the requests of a stream; see OrderedAnswers."""
        parse = parser("ModelInferRequest")

        async def parsed() -> AsyncIterator[Any]:
            async for data in requests:
                yield parse(data)

        fault: VlpError | None = None
        try:
            with self._gate.let_in("ModelStreamInfer", context) as passed:
                answers = OrderedAnswers(self._inference, self._deadline(context), passed)
                async with aclosing(answers.of(parsed())) as messages:
                    async for message in messages:
                        yield message
        except VlpError as error:
            fault = told(error)
        if fault is not None:
            await abort(context, fault)

    async def _server_live(self, request: Any, context: Any, passed: Passed) -> Any:
        return message_class("ServerLiveResponse")(live=self._inference.live())

    async def _server_ready(self, request: Any, context: Any, passed: Passed) -> Any:
        return message_class("ServerReadyResponse")(ready=self._inference.ready() and not self._gate.closing)

    async def _model_ready(self, request: Any, context: Any, passed: Passed) -> Any:
        try:
            ready = self._inference.model_ready(request.name, request.version)
        except (ModelNotFoundError, UnavailableError):  # as Triton has it: what is not there is not ready
            ready = False
        return message_class("ModelReadyResponse")(ready=ready)

    async def _server_metadata(self, request: Any, context: Any, passed: Passed) -> Any:
        return message_class("ServerMetadataResponse")(**self._inference.server_metadata())

    async def _model_metadata(self, request: Any, context: Any, passed: Passed) -> Any:
        document = self._inference.model_metadata(request.name, request.version)
        return ParseDict(document, message_class("ModelMetadataResponse")())

    async def _model_config(self, request: Any, context: Any, passed: Passed) -> Any:
        document = self._inference.model_config(request.name, request.version)
        return ParseDict({"config": document}, message_class("ModelConfigResponse")())

    async def _statistics(self, request: Any, context: Any, passed: Passed) -> Any:
        document = self._inference.statistics(request.name, request.version)
        return ParseDict({"model_stats": document}, message_class("ModelStatisticsResponse")())

    async def _index(self, request: Any, context: Any, passed: Passed) -> Any:
        document = self._inference.repository_index(only_ready=request.ready)
        return ParseDict({"models": document}, message_class("RepositoryIndexResponse")())

    async def _infer(self, request: Any, context: Any, passed: Passed) -> Any:
        deadline = self._deadline(context)
        asked = await read_message(request)
        passed.charge(request_weight(asked))
        return await write_message(await self._inference.infer(asked, deadline))

    def _deadline(self, context: Any) -> float | None:
        """The call's own deadline on the monotonic clock."""
        left_s: float | None = context.time_remaining()
        if left_s is None:
            return None
        return time.monotonic() + min(left_s, self._inference.max_timeout_s)


def _guarded(
    name: str, answer: _Answer, gate: Gate, parse: Callable[[bytes], Any]
) -> Callable[[Any, Any], Awaitable[Any]]:
    """The same for a call that has still to be let in, with errors as gRPC says them."""

    async def guarded(_: Any, context: Any) -> Any:
        try:
            with gate.let_in(name, context) as passed:
                data = await _message(context, gate.message_timeout_s)
                passed.take(len(data))
                return await answer(whole(parse(data)), context, passed)
        except VlpError as error:
            if error.detail:
                logger.info("%s (%s)", error.message, error.detail)
            fault = told(error)
        except Exception as error:
            logger.exception("a call failed")
            fault = told(error)
        await abort(context, fault)
        return None

    return guarded


async def _message(context: Any, timeout_s: float | None) -> bytes:
    """The bytes of a call's only message.

    Raises:
        DeadlineError: they did not come in time.
        InvalidArgumentError: there is none.
        CancelledError: the client went away first.
    """
    try:
        async with asyncio.timeout(timeout_s):
            data = await context.read()
    except TimeoutError:
        raise DeadlineError(f"the message did not arrive within {timeout_s:g} s") from None
    except grpc.aio.BaseError:
        raise CancelledError("the client went away before its message was there") from None
    if data is grpc.aio.EOF:
        raise InvalidArgumentError("the call brings no message")
    return bytes(data)
