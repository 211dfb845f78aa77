"""vlp.v1.Models: what is served, and changing it while requests run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_rig import Rig, open_grpc, trailing
from model_versions import publish_two
from service_rig import tiny_model
from vlp_proto.vlp.v1 import models_pb2
from vlp_server.config import ServerConfig
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings

pb = models_pb2


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Rig]:
    """Version 1 of two is served, and models may be changed."""
    publish_two(tmp_path)
    service = Service(CoreSettings(models=(tiny_model(tmp_path, "tiny@1"),), preprocess_threads=1))
    await service.start()
    assert (await service.wait_ready(30)).ready
    config = ServerConfig()
    async with open_grpc(service, replace(config, http=replace(config.http, admin=True))) as rig:
        yield rig
    await service.close()


def shown(response: Any) -> list[tuple[int, str, bool]]:
    names = pb.VersionState.Name
    return [(one.version, names(one.state).removeprefix("VERSION_STATE_"), one.current) for one in response.versions]


async def test_the_served_models_and_limits_are_listed(rig: Rig) -> None:
    response = await rig.models.ListModels(pb.ListModelsRequest())
    cards = rig.server.door.service.models()
    assert [model.name for model in response.models] == [card.name for card in cards]
    first = response.models[0]
    assert (first.id, first.version, first.state) == ("dummy@1", 1, pb.MODEL_STATE_READY)
    assert (list(first.tasks), first.default, list(first.default_for)) == (["vqa"], True, ["vqa"])
    assert dict(first.limits) == dict(cards[0].limits)
    config = rig.server.door.config
    limits = response.request_limits
    assert (limits.message_bytes, limits.questions) == (config.grpc.max_message_bytes, config.limits.questions)
    assert all(value > 0 for _, value in limits.ListFields())
    assert len(limits.ListFields()) == len(limits.DESCRIPTOR.fields)


async def test_a_model_is_rolled_forward_and_back(admin: Rig) -> None:
    models = admin.models
    listed = await models.ListVersions(pb.ListVersionsRequest())
    assert shown(listed) == [(1, "SERVED", True), (2, "ON_DISK", False)]
    loaded = await models.LoadModel(pb.LoadModelRequest(name="tiny", version=2))
    assert shown(loaded) == [(1, "SERVED", True), (2, "SERVED", False)]
    switched = await models.SwitchModel(pb.SwitchModelRequest(name="tiny", version=2))
    assert shown(switched) == [(1, "SERVED", False), (2, "SERVED", True)]
    assert [one.previous for one in switched.versions] == [True, False]
    back = await models.RollBackModel(pb.RollBackModelRequest(name="tiny"))
    assert shown(back) == [(1, "SERVED", True), (2, "SERVED", False)]
    unloaded = await models.UnloadModel(pb.UnloadModelRequest(name="tiny", version=2), timeout=30)
    assert shown(unloaded) == [(1, "SERVED", True), (2, "ON_DISK", False)]


async def test_a_change_that_would_be_wrong_says_why(admin: Rig) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as last:
        await admin.models.UnloadModel(pb.UnloadModelRequest(name="tiny", version=1))
    assert last.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert trailing(last.value)["error-kind"] == "model_conflict"
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await admin.models.LoadModel(pb.LoadModelRequest(name="tiny", version=9))
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as nameless:
        await admin.models.RollBackModel(pb.RollBackModelRequest())
    assert trailing(nameless.value)["error-field"] == "name"
