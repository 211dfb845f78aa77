"""The Open Inference Protocol v2 over gRPC: the service, to be added to a server that others make and bound."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from vlp_spec.errors import ModelNotFoundError, UnavailableError, VlpError

from vlp_server.oip.grpc_faults import abort, told
from vlp_server.oip.grpc_messages import SERVICE, message_class, methods, parser, whole
from vlp_server.oip.grpc_records import read_message, write_message
from vlp_server.oip.grpc_stream import OrderedAnswers
from vlp_server.oip.inference import OpenInference

logger = logging.getLogger(__name__)
OPEN_METHODS = ("ServerLive", "ServerReady")
"""What needs no API key; everything else needs the role that reads."""


def add_inference_service(server: grpc.aio.Server, inference: OpenInference) -> None:
    """Let a server that was not started yet answer the protocol.

    Message sizes, TLS and keys are the server's; a method that the service does not have answers UNIMPLEMENTED.

    Args:
        server: of grpc.aio.
        inference: the same one as other doors have, for they share its statistics.
    """
    service = _InferenceService(inference)
    handlers = {}
    for name, method in methods().items():
        make = grpc.stream_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        handlers[name] = make(
            service.stream_infer if method.server_streaming else _guarded(service.answers[name]),
            request_deserializer=parser(method.input_type.name),
            response_serializer=message_class(method.output_type.name).SerializeToString,
        )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


class _InferenceService:
    """Answers by method.

    Attributes:
        answers: name of a unary method -> what answers it, given the request and grpc's context.
    """

    def __init__(self, inference: OpenInference) -> None:
        self._inference = inference
        self.answers: dict[str, Callable[[Any, Any], Awaitable[Any]]] = {
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
        answers = OrderedAnswers(self._inference, self._deadline(context))
        async for message in answers.of(requests):
            yield message

    async def _server_live(self, request: Any, context: Any) -> Any:
        return message_class("ServerLiveResponse")(live=self._inference.live())

    async def _server_ready(self, request: Any, context: Any) -> Any:
        return message_class("ServerReadyResponse")(ready=self._inference.ready())

    async def _model_ready(self, request: Any, context: Any) -> Any:
        try:
            ready = self._inference.model_ready(request.name, request.version)
        except (ModelNotFoundError, UnavailableError):  # as Triton has it: what is not there is not ready
            ready = False
        return message_class("ModelReadyResponse")(ready=ready)

    async def _server_metadata(self, request: Any, context: Any) -> Any:
        return message_class("ServerMetadataResponse")(**self._inference.server_metadata())

    async def _model_metadata(self, request: Any, context: Any) -> Any:
        document = self._inference.model_metadata(request.name, request.version)
        return ParseDict(document, message_class("ModelMetadataResponse")())

    async def _model_config(self, request: Any, context: Any) -> Any:
        document = self._inference.model_config(request.name, request.version)
        return ParseDict({"config": document}, message_class("ModelConfigResponse")())

    async def _statistics(self, request: Any, context: Any) -> Any:
        document = self._inference.statistics(request.name, request.version)
        return ParseDict({"model_stats": document}, message_class("ModelStatisticsResponse")())

    async def _index(self, request: Any, context: Any) -> Any:
        document = self._inference.repository_index(only_ready=request.ready)
        return ParseDict({"models": document}, message_class("RepositoryIndexResponse")())

    async def _infer(self, request: Any, context: Any) -> Any:
        deadline = self._deadline(context)
        return await write_message(await self._inference.infer(await read_message(request), deadline))

    def _deadline(self, context: Any) -> float | None:
        """The call's own deadline on the monotonic clock."""
        left_s: float | None = context.time_remaining()
        if left_s is None:
            return None
        return time.monotonic() + min(left_s, self._inference.max_timeout_s)


def _guarded(answer: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    """The same with errors as gRPC says them."""

    async def guarded(request: Any, context: Any) -> Any:
        try:
            return await answer(whole(request), context)
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
