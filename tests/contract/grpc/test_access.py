"""Keys and roles over gRPC; health and reflection ask for none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_rig import open_grpc, picture_of, trailing
from vlp_proto.vlp.v1 import collections_pb2, models_pb2, vision_language_pb2
from vlp_server.access.keys import Role, new_key
from vlp_server.config import AccessConfig, ServerConfig
from vlp_server.grpc.method_roles import role_of

REQUEST = vision_language_pb2.VqaRequest(picture=picture_of(b"picture"), questions=["a"])
KEYS = {role: new_key(f"my-{role}", role) for role in Role}
CONFIG = ServerConfig(access=AccessConfig(keys=tuple(key.line for _, key in KEYS.values())))


def bearer(role: Role) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {KEYS[role][0]}"),)


async def kind_of(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return trailing(caught.value)["error-kind"]


def test_every_method_has_the_role_that_it_needs() -> None:
    pools = (vision_language_pb2, collections_pb2, models_pb2)
    services = [service for pool in pools for service in pool.DESCRIPTOR.services_by_name.values()]
    needed: dict[Role, set[str]] = {role: set() for role in Role}
    for service in services:
        for method in service.methods:
            needed[role_of(f"/{service.full_name}/{method.name}")].add(method.name)
    assert needed[Role.ADMIN] == {"ListVersions", "LoadModel", "SwitchModel", "RollBackModel", "UnloadModel"}
    assert needed[Role.WRITE] == {"CreateCollection", "DeleteCollection", "AddItems", "DeleteItem"}
    assert len(needed[Role.READ]) == 17
    assert role_of("/other.Service/Vqa") is Role.ADMIN


async def test_a_key_is_asked_for_before_the_message_is_read(scripted: Any) -> None:
    async with open_grpc(scripted, CONFIG) as rig:
        nothing_sent = rig.channel.stream_unary("/vlp.v1.VisionLanguage/Vqa")()
        assert await kind_of(nothing_sent) == "unauthenticated"
        wrong = (("authorization", "Bearer vlp_no_such_key"),)
        assert await kind_of(rig.vision.Vqa(REQUEST, metadata=wrong)) == "unauthenticated"
        two = (*bearer(Role.READ), ("x-api-key", KEYS[Role.WRITE][0]))
        assert await kind_of(rig.vision.Vqa(REQUEST, metadata=two)) == "unauthenticated"
        basic = (("authorization", "Basic dXNlcjpwYXNz"),)
        assert await kind_of(rig.vision.Vqa(REQUEST, metadata=basic)) == "unauthenticated"
    assert scripted.calls == []


async def test_a_key_may_do_what_its_role_covers(scripted: Any) -> None:
    create = collections_pb2.CreateCollectionRequest(name="a")
    load = models_pb2.LoadModelRequest(name="a", version=0)
    async with open_grpc(scripted, CONFIG) as rig:
        for role in Role:
            assert (await rig.vision.Vqa(REQUEST, metadata=bearer(role))).model == "scripted@1"
        by_header = (("x-api-key", KEYS[Role.READ][0]),)
        assert (await rig.vision.Vqa(REQUEST, metadata=by_header)).model == "scripted@1"
        created = rig.collections.CreateCollection(create, metadata=bearer(Role.READ))
        assert await kind_of(created) == "permission_denied"
        assert await kind_of(rig.models.LoadModel(load, metadata=bearer(Role.WRITE))) == "permission_denied"
        assert await kind_of(rig.models.LoadModel(load, metadata=bearer(Role.ADMIN))) == "invalid_argument"


async def test_health_asks_for_no_key(scripted: Any) -> None:
    async with open_grpc(scripted, CONFIG) as rig:
        answer = await rig.health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_without_keys_models_are_changed_only_where_the_operator_said_so(scripted: Any) -> None:
    request = models_pb2.LoadModelRequest(name="a", version=0)
    async with open_grpc(scripted) as rig:
        assert await kind_of(rig.models.LoadModel(request)) == "permission_denied"
    config = ServerConfig()
    config = replace(config, http=replace(config.http, admin=True))
    async with open_grpc(type(scripted)(), config) as rig:
        assert await kind_of(rig.models.LoadModel(request)) == "invalid_argument"


async def test_no_key_is_in_the_access_log(scripted: Any, caplog: pytest.LogCaptureFixture) -> None:
    config = replace(CONFIG, log=replace(CONFIG.log, access=True))
    with caplog.at_level("DEBUG"):
        async with open_grpc(scripted, config) as rig:
            await rig.vision.Vqa(REQUEST, metadata=bearer(Role.READ))
            await kind_of(rig.vision.Vqa(REQUEST, metadata=(("authorization", "Bearer vlp_wrong"),)))
    lines = [record.fields for record in caplog.records if record.name == "vlpserve.access"]  # type: ignore[attr-defined]
    assert [line["key"] for line in lines] == ["my-read", None]
    assert KEYS[Role.READ][0] not in f"{caplog.text} {lines}"
    assert "vlp_wrong" not in f"{caplog.text} {lines}"


async def test_a_caller_has_one_quota_and_pays_for_what_it_asks(scripted: Any) -> None:
    # A call, a look at a picture, and a question of one character.
    cost = 10 + 144 + 1
    config = ServerConfig(access=AccessConfig(keys=CONFIG.access.keys, rate=0.001, burst=2.0 * cost))
    async with open_grpc(scripted, config) as rig:
        for _ in range(2):
            await rig.vision.Vqa(REQUEST, metadata=bearer(Role.READ))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rig.vision.Vqa(REQUEST, metadata=bearer(Role.READ))
        other = await rig.vision.Vqa(REQUEST, metadata=bearer(Role.WRITE))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert trailing(caught.value)["error-kind"] == "rate_limited"
    assert float(trailing(caught.value)["retry-after-s"]) > 1
    assert other.model == "scripted@1"
    assert len(scripted.calls) == 3
