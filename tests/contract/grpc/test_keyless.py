"""Who has no key holds nothing: calls that need none, and never bring their message, keep nobody else out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from collection_rig import collection_service
from grpc_health.v1 import health_pb2
from grpc_rig import Rig, open_grpc, picture_of
from vlp_proto.vlp.v1 import vision_language_pb2
from vlp_server.config import HttpConfig, ServerConfig
from vlp_server.grpc import health, server
from vlp_server.oip.grpc_messages import SERVICE, message_class
from vlp_server.oip.inference import OpenInference

REQUEST = vision_language_pb2.VqaRequest(picture=picture_of(b"picture"), questions=["a"])
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
# As many calls as the library lets run in these tests.
CALLS = 6


@pytest.fixture(autouse=True)
def few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_SPARE_CALLS", CALLS - 1)
    monkeypatch.setattr(health, "_MAX_READ", 2, raising=False)


@contextmanager
def silent(rig: Rig, method: str, count: int) -> Iterator[list[Any]]:
    """Calls of a method that send no message."""
    calls = [rig.channel.stream_stream(method)() for _ in range(count)]
    try:
        yield calls
    finally:
        for call in calls:
            call.cancel()


@pytest.mark.parametrize("method", [CHECK, WATCH])
async def test_silent_questions_for_health_keep_nobody_out(scripted: Any, method: str) -> None:
    async with open_grpc(scripted, ServerConfig(http=HttpConfig(max_in_flight=1))) as rig:
        with silent(rig, method, CALLS) as calls:
            ended = [asyncio.create_task(call.code()) for call in calls]
            done, _ = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED, timeout=20)
            assert {task.result() for task in done} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            assert (await rig.vision.Vqa(REQUEST)).model == "scripted@1"
            answer = await rig.health.Check(health_pb2.HealthCheckRequest())
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("method", [CHECK, WATCH])
async def test_a_question_that_never_comes_ends_its_call(
    scripted_rig: Rig, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_READ_S", 0.05, raising=False)
    with silent(scripted_rig, method, 1) as (call,):
        assert await asyncio.wait_for(call.code(), 20) is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("method", [CHECK, WATCH])
@pytest.mark.parametrize("message", [None, b"\xff"])
async def test_what_is_no_question_is_refused(scripted_rig: Rig, method: str, message: bytes | None) -> None:
    call = scripted_rig.channel.stream_stream(method)(iter([] if message is None else [message]))
    assert await asyncio.wait_for(call.code(), 20) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("name", "field"), [("ServerLive", "live"), ("ServerReady", "ready")])
async def test_health_of_the_inference_protocol_waits_for_no_message(tmp_path: Path, name: str, field: str) -> None:
    config = ServerConfig()
    async with collection_service(tmp_path, ("dummy",)) as service:
        oip = OpenInference(service, config.limits, version="0", max_timeout_s=60.0)
        async with open_grpc(service, config, oip=oip) as rig:
            with silent(rig, f"/{SERVICE}/{name}", 1) as (call,):
                answer = await asyncio.wait_for(call.read(), 20)
                assert getattr(message_class(f"{name}Response").FromString(answer), field)
