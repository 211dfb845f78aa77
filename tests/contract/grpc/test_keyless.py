"""Who has no key holds nothing: calls that need none, and never bring their message, keep nobody else out."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import pytest
from collection_rig import collection_service
from grpc_health.v1 import health_pb2
from grpc_rig import Rig, open_grpc, picture_of
from vlp_proto.vlp.v1 import vision_language_pb2
from vlp_server.config import HttpConfig, ServerConfig
from vlp_server.grpc import health, keyless, reflection, server
from vlp_server.oip.grpc_messages import SERVICE, message_class
from vlp_server.oip.inference import OpenInference

REQUEST = vision_language_pb2.VqaRequest(picture=picture_of(b"picture"), questions=["a"])
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
# As many calls as the library lets run in these tests.
CALLS = 6
SLOW = 2


@pytest.fixture(autouse=True)
def few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_SPARE_CALLS", CALLS - 1)
    monkeypatch.setattr(keyless, "MAX_CALLS_OF_ADDRESS", CALLS - 2)
    monkeypatch.setattr(health, "_MAX_READ", SLOW)


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
            codes = [await code for code in islice(asyncio.as_completed(ended, timeout=20), CALLS - SLOW)]
            assert set(codes) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            assert (await rig.vision.Vqa(REQUEST)).model == "scripted@1"
            answer = await rig.health.Check(health_pb2.HealthCheckRequest())
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("method", [CHECK, WATCH])
async def test_a_question_that_never_comes_ends_its_call(
    scripted_rig: Rig, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_READ_S", 0.05)
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


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """Of HTTP/2."""
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def header(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


async def test_answers_that_nobody_takes_keep_no_others_out(scripted_rig: Rig) -> None:
    # It allows no byte of an answer to be sent.
    no_window = frame(4, 0, 0, struct.pack(">HI", 4, 0))
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", CHECK.encode()),
        (b":authority", b"a"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    headers = b"".join(header(name, value) for name, value in fields)
    reader, writer = await asyncio.open_connection("127.0.0.1", scripted_rig.server.port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + no_window)
    await reader.read(9)
    writer.write(frame(4, 1, 0))
    room = scripted_rig.server.door.config.http.max_in_flight
    for stream in range(1, 2 * (room + CALLS) + 1, 2):
        writer.write(frame(1, 4, stream, headers) + frame(0, 1, stream, bytes(5)))
    await writer.drain()
    # Those over their number are told so; that of headers (frame 1) which end a stream comes without a window.
    await asyncio.wait_for(reader.readuntil(b"\x01\x05"), 20)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await scripted_rig.health.Check(health_pb2.HealthCheckRequest())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await scripted_rig.vision.Vqa(REQUEST)).model == "scripted@1"
    writer.close()
    while True:
        try:
            await scripted_rig.health.Check(health_pb2.HealthCheckRequest())
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0)
        else:
            break


async def test_silent_streams_of_reflection_make_room(scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflection, "_MAX_SLOW", SLOW)
    monkeypatch.setattr(reflection, "_PATIENCE_S", 0.0)
    async with open_grpc(scripted) as rig:
        with silent(rig, f"/{reflection.REFLECTION_SERVICE}/ServerReflectionInfo", SLOW + 1) as calls:
            ended = [asyncio.create_task(call.code()) for call in calls]
            (code,) = [await code for code in islice(asyncio.as_completed(ended, timeout=20), 1)]
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_what_is_no_question_of_reflection_is_refused(scripted_rig: Rig) -> None:
    call = scripted_rig.channel.stream_stream(f"/{reflection.REFLECTION_SERVICE}/ServerReflectionInfo")(iter([b"\xff"]))
    assert await asyncio.wait_for(call.code(), 20) is grpc.StatusCode.INVALID_ARGUMENT
