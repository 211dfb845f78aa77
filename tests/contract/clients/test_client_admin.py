"""Models come and go by the SDK's admin verbs: both twins, both transports, against a real server with keys."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pictures_made as pictures
import pytest
from server_process import ServerProcess
from tiny_repository import build_graph, publish
from vlp_client import AsyncClient, AuthenticationError, Client, ModelVersion, PermissionDeniedError, RequestError
from vlp_server.access.keys import Role, new_key
from vlp_server.access.keys_file import add_key

WAYS = ("http", "http async", "grpc", "grpc async")


@dataclass(frozen=True)
class Site:
    """A server of version 1 of "tiny", with 2 and a rotten 3 on disk, and one key of each role."""

    server: ServerProcess
    keys: dict[Role, str]

    def client(self, way: str, key: str | None) -> Any:
        url = self.server.grpc_url if way.startswith("grpc") else self.server.url
        return (AsyncClient if way.endswith("async") else Client)(url, api_key=key)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("server")
    repository, keys_file, keys = root / "repository", root / "keys.txt", {}
    for role in Role:
        keys[role], record = new_key(str(role), role)
        add_key(keys_file, record)
    _publish(repository)
    arguments = ("tiny@1", "--repository", str(repository), "--threads", "1", "--keys-file", str(keys_file))
    with ServerProcess(root, *arguments) as server:
        yield Site(server, keys)


def _publish(repository: Path) -> None:
    publish(repository, version=1)
    publish(repository, version=2, scale=-1.0)
    publish(repository, version=3, graph=build_graph(scale=1.5))


@pytest.fixture(params=WAYS)
async def client(site: Site, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    opened = site.client(request.param, site.keys[Role.ADMIN])
    yield opened
    await closed(opened)


async def closed(client: Any) -> None:
    await get(client.aclose() if isinstance(client, AsyncClient) else client.close())


async def get(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def shown(versions: tuple[ModelVersion, ...]) -> list[tuple[int | None, str, bool]]:
    return [(one.version, one.state, one.current) for one in versions if one.version != 3]


async def answering(client: Any) -> str:
    return str((await get(client.vqa(pictures.png(), "what colour is it", model="tiny"))).model)


async def test_a_model_is_rolled_forward_and_back(client: Any) -> None:
    admin = client.admin
    listed = await get(admin.versions())
    assert shown(listed) == [(1, "served", True), (2, "on_disk", False)]
    assert all(isinstance(one, ModelVersion) and one.name == "tiny" for one in listed)
    assert shown(await get(admin.load("tiny", 2, deadline_s=30.0))) == [(1, "served", True), (2, "served", False)]
    assert await answering(client) == "tiny@1"
    switched = await get(admin.switch("tiny", 2))
    assert shown(switched) == [(1, "served", False), (2, "served", True)]
    assert [one.version for one in switched if one.previous] == [1]
    assert await answering(client) == "tiny@2"
    assert shown(await get(admin.rollback("tiny"))) == [(1, "served", True), (2, "served", False)]
    assert await answering(client) == "tiny@1"
    assert shown(await get(admin.unload("tiny", 2))) == [(1, "served", True), (2, "on_disk", False)]
    assert [info.id for info in await get(client.models())] == ["tiny@1"]


async def test_the_last_version_goes_by_force_alone(client: Any) -> None:
    admin = client.admin
    with pytest.raises(RequestError) as last:
        await get(admin.unload("tiny", 1))
    assert (last.value.kind, last.value.status) == ("model_conflict", 409)
    assert shown(await get(admin.unload("tiny", 1, force=True))) == [(1, "on_disk", False), (2, "on_disk", False)]
    assert not await get(client.ready())
    assert shown(await get(admin.load("tiny", 1))) == [(1, "served", False), (2, "on_disk", False)]
    assert shown(await get(admin.switch("tiny", 1))) == [(1, "served", True), (2, "on_disk", False)]
    assert await get(client.ready())
    assert await answering(client) == "tiny@1"


async def test_a_change_that_would_be_wrong_says_why(client: Any) -> None:
    admin = client.admin
    for call, kind, status, words in (
        (lambda: admin.load("tiny", 9), "model_not_found", 404, "no version 9"),
        (lambda: admin.load("tiny", 3), "model_conflict", 409, "cannot be served"),
        (lambda: admin.load("nobody", 1), "model_not_found", 404, "nobody"),
        (lambda: admin.load("tiny", 0), "invalid_argument", 400, "version"),
        (lambda: admin.switch("tiny", 2), "model_not_found", 404, "load it first"),
    ):
        with pytest.raises(RequestError, match=words) as caught:
            await get(call())
        assert (caught.value.kind, caught.value.status) == (kind, status)
        assert caught.value.request_id
    (rotten,) = [one for one in await get(admin.versions()) if one.version == 3]
    assert rotten.state == "failed"
    assert rotten.reason
    for name in ("", ".", ".."):
        with pytest.raises(ValueError, match="no name"):
            await get(admin.rollback(name))


@pytest.mark.parametrize("way", WAYS)
async def test_it_takes_a_key_of_the_role_admin(site: Site, way: str) -> None:
    for role in (None, Role.READ, Role.WRITE):
        client = site.client(way, None if role is None else site.keys[role])
        refused = AuthenticationError if role is None else PermissionDeniedError
        for call in (client.admin.versions, lambda client=client: client.admin.load("tiny", 2)):
            with pytest.raises(refused):
                await get(call())
        await closed(client)
    client = site.client(way, site.keys[Role.ADMIN])
    assert shown(await get(client.admin.versions())) == [(1, "served", True), (2, "on_disk", False)]
    await closed(client)
