"""Triton's gRPC protocol over a real connection, in this process: what a server answers is a function of the test's.

It speaks by tritonclient's own messages, so what the engine sends is what Triton would get.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

import grpc
import numpy as np
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc
from tritonclient.utils import (
    deserialize_bytes_tensor,
    np_to_triton_dtype,
    serialize_byte_tensor,
    triton_to_np_dtype,
)

Arrays = dict[str, np.ndarray]


class Fault(Exception):
    """What a server says in place of an answer."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status, self.message = grpc.StatusCode[status], message


@dataclass(frozen=True)
class Call:
    """One call as it came."""

    model: str
    version: str
    inputs: Arrays
    outputs: list[str]
    priority: int
    timeout_us: int
    seconds_left: float
    parameters: dict[str, object]


Answer = Callable[[Call], Arrays | Awaitable[Arrays]]


class TritonStandIn:
    """A server, ready inside `async with`; it can be stopped, and started again under its old address.

    Attributes:
        answer: the outputs of a call; may raise Fault.
        stream: the answers of a streamed call, in turn: arrays, or a Fault. A Fault with the status OK comes as an
            error within the stream, as a model's does; any other ends the stream. An answer with a result is the last.
        on_disk: versions of each model that can be loaded.
        loaded: those that are.
        calls: that came.
        ended: streams that ended, whoever ended them.
        loads: what was told to be loaded: name, and the configuration that was sent along.
        secret: what calls that manage models must send along; None: nothing.
        before_load: called with the name before a model is loaded; may raise Fault.
        after_load: called with the name when it is, before that is told.
        before_unload: called with the name before a model is unloaded; may raise Fault.
        hang: calls that manage models are not answered before this is set; None: at once.
    """

    def __init__(self, answer: Answer | None = None, **on_disk: list[int]) -> None:
        self.answer: Answer = answer or (lambda call: {})
        self.stream: Callable[[Call], Any] = lambda call: []
        self.on_disk = {name.replace("__", "."): versions for name, versions in on_disk.items()}
        self.loaded = {name: list(versions) for name, versions in self.on_disk.items()}
        self.calls: list[Call] = []
        self.ended = asyncio.Event()
        self.loads: list[tuple[str, dict[str, Any]]] = []
        self.secret: str | None = None
        self.before_load: Callable[[str], object] = lambda name: None
        self.after_load: Callable[[str], object] = lambda name: None
        self.before_unload: Callable[[str], object] = lambda name: None
        self.hang: asyncio.Event | None = None
        self.configs: dict[str, model_config_pb2.ModelConfig] = {}
        self.live = True
        self.port = 0

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = grpc.aio.server()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(self), self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        """Gone at once, and calls that are under way with it."""
        await self._server.stop(None)

    def config(self, name: str) -> model_config_pb2.ModelConfig:
        """As on its disk."""
        config = model_config_pb2.ModelConfig(name=name, backend="python", max_batch_size=8)
        config.version_policy.latest.num_versions = 2
        return config


class _Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, owner: TritonStandIn) -> None:
        self._owner = owner

    async def ServerLive(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerLiveResponse(live=self._owner.live)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        versions = self._owner.loaded.get(request.name, [])
        return service_pb2.ModelReadyResponse(ready=int(request.version) in versions)

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        call = _read(request, context)
        self._owner.calls.append(call)
        try:
            given = self._owner.answer(call)
            return _response(await given if inspect.isawaitable(given) else given)
        except Fault as fault:
            await context.abort(fault.status, fault.message)

    async def ModelStreamInfer(self, requests: Any, context: Any) -> Any:
        try:
            async for request in requests:
                call = _read(request, context)
                self._owner.calls.append(call)
                answers = self._owner.stream(call)
                async for one in answers if hasattr(answers, "__aiter__") else _each(answers):
                    if not isinstance(one, Fault):
                        response = _response(one)
                        response.parameters["triton_final_response"].bool_param = "result" in one
                        yield service_pb2.ModelStreamInferResponse(infer_response=response)
                    elif one.status is grpc.StatusCode.OK:
                        yield service_pb2.ModelStreamInferResponse(error_message=one.message)
                    else:
                        await context.abort(one.status, one.message)
        finally:
            self._owner.ended.set()

    async def _let_in(self, context: Any) -> None:
        """As tritonserver with restricted protocols does."""
        if self._owner.hang is not None:
            await self._owner.hang.wait()
        header = "triton-grpc-protocol-vlpserve-control"
        if self._owner.secret not in (None, dict(context.invocation_metadata()).get(header)):
            message = f"This protocol is restricted, expecting header '{header}'"
            await context.abort(grpc.StatusCode.UNAVAILABLE, message)

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        await self._let_in(context)
        index = service_pb2.RepositoryIndexResponse()
        for name, versions in self._owner.on_disk.items():
            loaded = self._owner.loaded.get(name, [])
            for version in versions:
                state = "READY" if version in loaded else "UNAVAILABLE"
                index.models.add(name=name, version=str(version), state=state)
            if not loaded:
                index.models.add(name=name)
        return index

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        if not self._owner.loaded.get(request.name):
            await context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}' is not found")
        running = self._owner.configs.get(request.name) or self._owner.config(request.name)
        return service_pb2.ModelConfigResponse(config=running)

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
        await self._let_in(context)
        owner, name = self._owner, request.model_name
        try:
            told = owner.before_load(name)
            if inspect.isawaitable(told):
                await told
        except Fault as fault:
            await context.abort(fault.status, fault.message)
        there = owner.on_disk.get(name)
        if not there:
            await context.abort(grpc.StatusCode.INTERNAL, f"failed to load '{name}', failed to poll from repository")
        sent = request.parameters["config"].string_param if "config" in request.parameters else ""
        config = json_format.Parse(sent, model_config_pb2.ModelConfig()) if sent else owner.config(name)
        owner.loads.append((name, json_format.MessageToDict(config, preserving_proto_field_name=True)))
        owner.configs[name] = config
        policy = config.version_policy
        if policy.HasField("specific"):
            owner.loaded[name] = [version for version in policy.specific.versions if version in there]
        else:
            owner.loaded[name] = sorted(there)[-policy.latest.num_versions :]
        owner.after_load(name)
        return service_pb2.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:
        await self._let_in(context)
        try:
            self._owner.before_unload(request.model_name)
        except Fault as fault:
            await context.abort(fault.status, fault.message)
        self._owner.loaded[request.model_name] = []
        self._owner.configs.pop(request.model_name, None)
        return service_pb2.RepositoryModelUnloadResponse()


async def _each(answers: Any) -> Any:
    for one in answers:
        yield one


def _read(request: Any, context: Any) -> Call:
    inputs = {}
    for tensor, content in zip(request.inputs, request.raw_input_contents, strict=True):
        if tensor.datatype == "BYTES":
            array = deserialize_bytes_tensor(content)
        else:
            array = np.frombuffer(content, triton_to_np_dtype(tensor.datatype))
        inputs[tensor.name] = array.reshape(list(tensor.shape))
    parameters = {name: getattr(one, one.WhichOneof("parameter_choice")) for name, one in request.parameters.items()}
    return Call(
        request.model_name,
        request.model_version,
        inputs,
        [output.name for output in request.outputs],
        int(parameters.pop("priority", 0)),
        int(parameters.pop("timeout", 0)),
        context.time_remaining() or 0.0,
        parameters,
    )


def _response(arrays: Arrays) -> Any:
    response = service_pb2.ModelInferResponse()
    for name, array in arrays.items():
        response.outputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
        raw = serialize_byte_tensor(array).item() if array.dtype == np.object_ else array.tobytes()
        response.raw_output_contents.append(raw)
    return response


def words(*values: str | bytes) -> np.ndarray:
    """A BYTES tensor."""
    encoded = [value.encode() if isinstance(value, str) else value for value in values]
    return np.array(encoded, dtype=np.object_)
