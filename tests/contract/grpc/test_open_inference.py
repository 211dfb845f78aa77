"""The Open Inference Protocol beside vlp.v1 on one server: the same keys, limits, health and reflection."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from collection_rig import collection_service
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_rig import ALL_MODELS, Rig, open_grpc
from vlp_server.access.keys import Role, new_key
from vlp_server.config import AccessConfig, HttpConfig, LogConfig, ServerConfig
from vlp_server.intake.shared import Shared
from vlp_server.oip.grpc_messages import SERVICE, message_class, methods
from vlp_server.oip.inference import OpenInference

KEY, ENTRY = new_key("reader", Role.READ)
WITH_KEY = (("authorization", f"Bearer {KEY}"),)
GUARDED = ServerConfig(access=AccessConfig(keys=(ENTRY.line,)))
MODEL = "dummy-encoder.embeddings"
# A call, and the tensor's one patch.
COST = 10 + 1


@asynccontextmanager
async def serving(
    folder: Path, config: ServerConfig, shared: Shared | None = None, max_timeout_s: float = 60.0
) -> AsyncIterator[Rig]:
    async with collection_service(folder, ALL_MODELS) as service:
        oip = OpenInference(service, config.limits, version="0", max_timeout_s=max_timeout_s)
        async with open_grpc(service, config, shared=shared, oip=oip) as rig:
            yield rig


def ask(rig: Rig, name: str, request: Any = None, metadata: Any = WITH_KEY) -> Any:
    method = methods()[name]
    call = rig.channel.unary_unary(
        f"/{SERVICE}/{name}",
        request_serializer=message_class(method.input_type.name).SerializeToString,
        response_deserializer=message_class(method.output_type.name).FromString,
    )
    return call(message_class(method.input_type.name)() if request is None else request, metadata=metadata)


def stream(rig: Rig, timeout_s: float | None = None) -> Any:
    call = rig.channel.stream_stream(
        f"/{SERVICE}/ModelStreamInfer",
        request_serializer=message_class("ModelInferRequest").SerializeToString,
        response_deserializer=message_class("ModelStreamInferResponse").FromString,
    )
    return call(metadata=WITH_KEY, timeout=timeout_s)


def texts(*values: str, **parameters: Any) -> Any:
    request = message_class("ModelInferRequest")(model_name=MODEL)
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[len(values)])
    tensor.contents.bytes_contents.extend(value.encode() for value in values)
    for name, value in parameters.items():
        kind = "int64_param" if isinstance(value, int) else "string_param"
        setattr(request.parameters[name], kind, value)
    return request


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details().partition(":")[0].partition("(")[0]


async def test_health_is_open_and_everything_else_needs_a_key(tmp_path: Path) -> None:
    async with serving(tmp_path, GUARDED) as rig:
        for name, method in methods().items():
            if name in ("ServerLive", "ServerReady") or method.server_streaming:
                continue
            assert await refused(ask(rig, name, metadata=())) == (grpc.StatusCode.UNAUTHENTICATED, "unauthenticated")
        stream = rig.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")()
        assert (await refused(stream.read()))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert (await ask(rig, "ServerLive", metadata=())).live
        assert (await ask(rig, "ServerReady", metadata=())).ready
        assert (await ask(rig, "ModelInfer", texts("a"))).outputs[0].shape == [1, 16]


async def test_an_inference_pays_from_the_quota_of_its_caller(tmp_path: Path) -> None:
    access = replace(GUARDED.access, rate=0.001, burst=2.0 * COST)
    async with serving(tmp_path, replace(GUARDED, access=access)) as rig:
        for _ in range(2):
            await ask(rig, "ModelInfer", texts("a"))
        code, kind = await refused(ask(rig, "ModelInfer", texts("a")))
    assert (code, kind) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "rate_limited")


async def test_requests_of_a_stream_pay_each_and_share_the_bound_of_what_is_under_way(tmp_path: Path) -> None:
    access = replace(GUARDED.access, rate=0.001, burst=10.0 + 2.0, concurrency=10.0 + 1.0)
    async with serving(tmp_path, replace(GUARDED, access=access)) as rig:
        long = stream(rig)
        told = []
        for _ in range(3):
            await long.write(texts("a"))
            told.append((await long.read()).error_message.partition(":")[0])
    assert told == ["", "", "rate_limited"]


async def test_room_is_that_of_all_calls(tmp_path: Path) -> None:
    async with serving(tmp_path, ServerConfig()) as rig:
        room = rig.server.door.room
        room.closing = True
        assert (await refused(ask(rig, "ModelInfer", texts("a"))))[0] is grpc.StatusCode.UNAVAILABLE
        assert not (await ask(rig, "ServerReady")).ready
        room.closing = False
        assert (await ask(rig, "ServerReady")).ready
        assert room.inside == 0


@pytest.mark.parametrize(("name", "value"), [("timeout_ms", 0), ("timeout_ms", 3_600_001), ("lane", "fast")])
async def test_a_task_reads_its_own_parameters(tmp_path: Path, name: str, value: Any) -> None:
    async with serving(tmp_path, ServerConfig()) as rig:
        answer = await ask(rig, "ModelInfer", texts("a", timeout_ms=60_000, lane="bulk"))
        assert answer.outputs[0].shape == [1, 16]
        got = await refused(ask(rig, "ModelInfer", texts("a", **{name: value})))
    assert got == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_argument")


async def test_health_and_reflection_know_it(tmp_path: Path) -> None:
    async with serving(tmp_path, ServerConfig()) as rig:
        answer = await rig.health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(rig.channel)
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="vlp.v1.VisionLanguage"),
        ]
        listed, own, others = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
    assert SERVICE in [service.name for service in listed.list_services_response.service]
    assert len(own.file_descriptor_response.file_descriptor_proto) == 1
    assert others.file_descriptor_response.file_descriptor_proto


async def test_a_silent_stream_ends_and_gives_its_room_back(tmp_path: Path) -> None:
    async with serving(tmp_path, ServerConfig(http=HttpConfig(body_timeout_s=0.05))) as rig:
        silent, asking = stream(rig), stream(rig)
        await asking.write(texts("a"))
        assert not (await asking.read()).error_message
        for call in (silent, asking):
            assert await refused(call.read()) == (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline_exceeded")
        assert rig.server.door.room.inside == 0


async def test_a_silent_stream_holds_no_drain(tmp_path: Path) -> None:
    async with serving(tmp_path, ServerConfig()) as rig:
        silent = stream(rig)
        await silent.write(texts("a"))
        await silent.read()
        stopping = asyncio.ensure_future(rig.server.stop(30.0))
        assert await refused(silent.read()) == (grpc.StatusCode.UNAVAILABLE, "unavailable")
        await stopping


async def test_a_long_stream_has_time_for_each_of_its_requests(tmp_path: Path) -> None:
    async with serving(tmp_path, ServerConfig(), max_timeout_s=0.5) as rig:
        long = stream(rig, timeout_s=60.0)
        started = time.monotonic()
        while time.monotonic() < started + 0.6:
            await long.write(texts("a"))
            assert not (await long.read()).error_message


async def test_the_log_and_the_metadata_say_what_was_done(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = replace(GUARDED, log=LogConfig(access=True, questions=True))
    with caplog.at_level(logging.INFO):
        async with serving(tmp_path, config) as rig:
            call = ask(rig, "ModelInfer", texts("a red boat"))
            answer = await call
            long = stream(rig)
            for word in ("one", "two"):
                await long.write(texts(word))
            await long.done_writing()
            assert not any([told.error_message async for told in long])
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(rig, "ModelInfer", texts())
    assert "infer" in dict(await call.trailing_metadata())["server-timing"]
    assert dict(caught.value.trailing_metadata())["x-request-id"]
    one, several, wrong = (record.__dict__["fields"] for record in caplog.records if record.name == "vlpserve.access")
    assert (one["bytes_in"], one["bytes_out"]) == (texts("a red boat").ByteSize(), answer.ByteSize())
    assert (one["task"], one["questions"]) == ("embeddings", ["a red boat"])
    assert one["model"].startswith("dummy-encoder")
    assert one["infer_ms"] is not None
    assert (several["bytes_in"], several["questions"]) == (2 * texts("one").ByteSize(), ["one", "two"])
    assert several["bytes_out"] > 0
    assert (wrong["status"], wrong["bytes_in"]) == ("INVALID_ARGUMENT", texts().ByteSize())
