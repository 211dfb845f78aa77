"""Deadlines and cancellation reach the core; room is shared and given back; a drain lets running calls end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc_rig import Rig, open_grpc, picture_of, trailing
from vlp_proto.vlp.v1 import vision_language_pb2
from vlp_server.config import HttpConfig, ServerConfig
from vlp_server.grpc.server import GrpcServer
from vlp_server.intake.room import Room
from vlp_server.intake.shared import Shared
from vlp_spec.errors import ConfigError

REQUEST = vision_language_pb2.VqaRequest(picture=picture_of(b"picture"), questions=["a"])


class Held:
    """Work that waits until it is let go, and knows when it began and whether it was cancelled."""

    def __init__(self) -> None:
        self.began, self.go, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self) -> None:
        self.began.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@pytest.fixture
def held(scripted: Any) -> Held:
    scripted.behave = Held()
    return scripted.behave


async def status_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def test_a_cancelled_call_cancels_its_work(scripted_rig: Rig, held: Held) -> None:
    call = scripted_rig.vision.Vqa(REQUEST)
    await asyncio.wait_for(held.began.wait(), 10)
    assert scripted_rig.server.door.room.inside == 1
    call.cancel()
    await asyncio.wait_for(held.cancelled.wait(), 10)
    with pytest.raises(asyncio.CancelledError):
        await call
    while scripted_rig.server.door.room.inside:
        await asyncio.sleep(0)


async def test_a_client_that_goes_away_cancels_its_work(scripted_rig: Rig, held: Held) -> None:
    async with grpc.aio.insecure_channel(scripted_rig.address) as channel:
        call = channel.unary_unary("/vlp.v1.VisionLanguage/Vqa")(REQUEST.SerializeToString())
        await asyncio.wait_for(held.began.wait(), 10)
        await channel.close()
    await asyncio.wait_for(held.cancelled.wait(), 10)
    assert call.cancelled()


async def test_the_deadline_of_the_call_is_that_of_the_request(scripted_rig: Rig, scripted: Any) -> None:
    before = time.monotonic()
    await scripted_rig.vision.Vqa(REQUEST, timeout=60)
    await scripted_rig.vision.Vqa(REQUEST)
    await scripted_rig.vision.Vqa(REQUEST, timeout=100_000)
    after = time.monotonic()
    named, none, far = [call["deadline"] for call in scripted.calls]
    limit_s = scripted_rig.server.door.config.http.max_request_timeout_s
    # The wire carries timeouts with few digits.
    assert before < named <= after + 61
    assert none is None
    assert before < far <= after + limit_s


async def test_a_deadline_that_passes_ends_the_work(scripted_rig: Rig, held: Held) -> None:
    code = await status_of(scripted_rig.vision.Vqa(REQUEST, timeout=0.2))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(held.cancelled.wait(), 10)


async def test_too_many_calls_at_once_are_refused_and_others_answered(scripted: Any, held: Held) -> None:
    config = ServerConfig(http=HttpConfig(max_in_flight=1))
    async with open_grpc(scripted, config) as rig:
        first = rig.vision.Vqa(REQUEST)
        await asyncio.wait_for(held.began.wait(), 10)
        assert await status_of(rig.vision.Vqa(REQUEST)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        held.go.set()
        assert (await first).model == "scripted@1"
        assert (await rig.vision.Vqa(REQUEST)).model == "scripted@1"


async def test_room_is_shared_with_the_other_doors(scripted: Any) -> None:
    room = Room(max_requests=1, max_bytes=1 << 20)
    async with open_grpc(scripted, shared=replace(Shared.of(ServerConfig(), None), room=room)) as rig:
        with room.enter():
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await rig.vision.Vqa(REQUEST)
            assert trailing(caught.value)["error-kind"] == "overloaded"
        assert (await rig.vision.Vqa(REQUEST)).model == "scripted@1"


async def test_bytes_that_others_hold_are_not_given_twice(scripted: Any) -> None:
    room = Room(max_requests=9, max_bytes=1000)
    large = vision_language_pb2.VqaRequest(picture=picture_of(b"a" * 900), questions=["a"])
    async with open_grpc(scripted, shared=replace(Shared.of(ServerConfig(), None), room=room)) as rig:
        with room.enter() as take:
            take(500)
            assert await status_of(rig.vision.Vqa(large)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await rig.vision.Vqa(large)).model == "scripted@1"


async def test_a_message_that_never_comes_ends_the_call(scripted: Any) -> None:
    config = ServerConfig(http=HttpConfig(body_timeout_s=0.05))
    async with open_grpc(scripted, config) as rig:
        call = rig.channel.stream_unary("/vlp.v1.VisionLanguage/Vqa")()
        assert await status_of(call) is grpc.StatusCode.DEADLINE_EXCEEDED
        assert rig.server.door.room.inside == 0


async def test_a_drain_lets_running_calls_end_and_refuses_new_ones(scripted: Any, held: Held) -> None:
    async with open_grpc(scripted) as rig:
        running = rig.vision.Vqa(REQUEST)
        await asyncio.wait_for(held.began.wait(), 10)
        stopping = asyncio.create_task(rig.server.stop(30.0))
        while not rig.server.door.room.closing:
            await asyncio.sleep(0)
        assert await status_of(rig.vision.Vqa(REQUEST)) is grpc.StatusCode.UNAVAILABLE
        held.go.set()
        assert (await running).model == "scripted@1"
        await stopping


async def test_a_port_that_is_taken_is_told(scripted: Any) -> None:
    async with open_grpc(scripted) as rig:
        config = ServerConfig()
        config = replace(config, grpc=replace(config.grpc, port=rig.server.port))
        other = type(scripted)()
        with pytest.raises(ConfigError, match=r"grpc\.port"):
            await GrpcServer(other, config).start()
