"""grpc.health.v1 follows readiness; reflection shows what there is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_rig import Rig, open_grpc
from vlp_proto.vlp.v1 import vision_language_pb2
from vlp_server.config import ServerConfig
from vlp_server.core.records import Readiness
from vlp_server.grpc import reflection
from vlp_server.grpc.reflection import MAX_STREAMS
from vlp_spec.errors import TaskNotSupportedError

Status = health_pb2.HealthCheckResponse
VISION, COLLECTIONS, MODELS = "vlp.v1.VisionLanguage", "vlp.v1.Collections", "vlp.v1.Models"
NOT_READY = Readiness(False, {"scripted@1": "loading"}, "some models are not ready")


async def states(rig: Rig, *services: str) -> list[str]:
    asked = [await rig.health.Check(health_pb2.HealthCheckRequest(service=service)) for service in services]
    return [Status.ServingStatus.Name(answer.status) for answer in asked]


async def test_all_serve_when_the_service_is_ready(scripted_rig: Rig) -> None:
    assert await states(scripted_rig, "", VISION, COLLECTIONS, MODELS) == ["SERVING"] * 4


async def test_models_alone_serve_before_it_is(scripted_rig: Rig, scripted: Any) -> None:
    scripted.ready = NOT_READY
    expected = ["NOT_SERVING", "NOT_SERVING", "NOT_SERVING", "SERVING"]
    assert await states(scripted_rig, "", VISION, COLLECTIONS, MODELS) == expected


async def test_collections_do_not_serve_where_none_are_kept(scripted: Any) -> None:
    class Without(type(scripted)):  # type: ignore[misc]
        @property
        def collections(self) -> Any:
            raise TaskNotSupportedError("none are kept")

        @collections.setter
        def collections(self, _: Any) -> None:
            pass

    async with open_grpc(Without()) as rig:
        assert await states(rig, "", COLLECTIONS) == ["SERVING", "NOT_SERVING"]


async def test_nothing_serves_once_the_server_is_stopping(scripted_rig: Rig) -> None:
    scripted_rig.server.door.room.closing = True
    assert await states(scripted_rig, "", VISION, COLLECTIONS, MODELS) == ["NOT_SERVING"] * 4


async def test_a_service_that_is_not_there_is_not_found(scripted_rig: Rig) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await states(scripted_rig, "vlp.v1.Guessing")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_is_told_of_each_change(scripted_rig: Rig, scripted: Any) -> None:
    scripted.ready = NOT_READY
    watch = scripted_rig.health.Watch(health_pb2.HealthCheckRequest(service=VISION))
    assert (await watch.read()).status == Status.NOT_SERVING
    scripted.ready = Readiness(True, {"scripted@1": "ready"})
    assert (await watch.read()).status == Status.SERVING
    scripted_rig.server.door.room.closing = True
    assert (await watch.read()).status == Status.NOT_SERVING
    watch.cancel()


async def test_a_watcher_of_nothing_is_told_so(scripted_rig: Rig) -> None:
    watch = scripted_rig.health.Watch(health_pb2.HealthCheckRequest(service="no.such"))
    assert (await watch.read()).status == Status.SERVICE_UNKNOWN
    watch.cancel()


async def test_only_so_many_watch_at_a_time(scripted_rig: Rig) -> None:
    watches = [scripted_rig.health.Watch(health_pb2.HealthCheckRequest()) for _ in range(64)]
    await asyncio.gather(*(watch.read() for watch in watches))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await scripted_rig.health.Watch(health_pb2.HealthCheckRequest()).read()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for watch in watches:
        watch.cancel()


async def reflected(rig: Rig, **asked: Any) -> Any:
    stub = reflection_pb2_grpc.ServerReflectionStub(rig.channel)
    call = stub.ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(**asked))
    answer = await call.read()
    await call.done_writing()
    return answer


async def test_reflection_shows_services_and_their_files(scripted_rig: Rig) -> None:
    listed = await reflected(scripted_rig, list_services="")
    names = {service.name for service in listed.list_services_response.service}
    assert {VISION, COLLECTIONS, MODELS, "grpc.health.v1.Health"} <= names
    found = await reflected(scripted_rig, file_containing_symbol=VISION)
    assert vision_language_pb2.DESCRIPTOR.serialized_pb in found.file_descriptor_response.file_descriptor_proto


async def test_reflection_can_be_turned_off(scripted: Any) -> None:
    config = ServerConfig()
    config = replace(config, grpc=replace(config.grpc, reflection=False))
    async with open_grpc(scripted, config) as rig:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await reflected(rig, list_services="")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert await states(rig, VISION) == ["SERVING"]


async def test_only_so_many_reflect_at_a_time(scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflection, "_PATIENCE_S", 60.0)
    async with open_grpc(scripted) as rig:
        await only_so_many_reflect(rig)


async def only_so_many_reflect(scripted_rig: Rig) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(scripted_rig.channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    calls = [stub.ServerReflectionInfo() for _ in range(MAX_STREAMS)]
    for call in calls:
        await call.write(asked)
        assert (await call.read()).HasField("list_services_response")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ServerReflectionInfo().read()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for call in calls:
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
    assert (await reflected(scripted_rig, list_services="")).HasField("list_services_response")
