"""/v1/admin/models over the real service, asked by hand, by the SDK and by the command."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_bridge import AsgiBridge, LoopThread
from click.testing import CliRunner, Result
from pictures_made import png
from service_rig import tiny_model
from tiny_repository import build_graph, publish
from vlp_cli import server_url
from vlp_cli.generate import openapi_text
from vlp_cli.main import cli
from vlp_client import Client, ModelVersion, PermissionDeniedError, RequestError
from vlp_server.config import HttpConfig, ServerConfig
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings, EngineSettings
from vlp_server.engines.base import Engine
from vlp_server.engines.registry import build_engine
from vlp_server.http.app import create_app

ADMIN = "/v1/admin/models"
OPEN = ServerConfig(http=HttpConfig(admin=True))
WAYS = ("load", "switch", "rollback", "unload")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two sound versions, and a third whose weights have rotted."""
    publish(tmp_path, version=1)
    publish(tmp_path, version=2, scale=-1.0)
    publish(tmp_path, version=3, graph=build_graph(scale=1.5))
    return tmp_path


def service_of(repository: Path, **options: Any) -> Service:
    return Service(CoreSettings(models=(tiny_model(repository, "tiny@1"),), preprocess_threads=1), **options)


@asynccontextmanager
async def served(repository: Path, config: ServerConfig = OPEN, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    service = service_of(repository, **options)
    await service.start()
    assert (await service.wait_ready(30)).ready
    transport = httpx.ASGITransport(create_app(service, config))
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        yield client
    await service.close()


async def change(client: httpx.AsyncClient, what: str, name: str = "tiny", **fields: Any) -> httpx.Response:
    return await client.post(f"{ADMIN}/{name}/{what}", json=fields)


async def ask(client: httpx.AsyncClient, model: str = "tiny") -> httpx.Response:
    fields = {"question": "what colour is it", "model": model}
    return await client.post("/v1/vqa", files={"image": png()}, data=fields)


def shown(response: httpx.Response) -> list[tuple[int, str, bool]]:
    assert response.status_code == 200, response.text
    return [(one["version"], one["state"], one["current"]) for one in response.json()["models"]]


async def test_a_model_is_rolled_forward_and_back(repository: Path) -> None:
    async with served(repository) as client:
        listed = await client.get(ADMIN)
        assert shown(listed) == [(1, "served", True), (2, "on_disk", False), (3, "on_disk", False)]
        assert set(listed.json()["models"][0]) == {
            *("name", "version", "state", "reason", "current", "previous", "requests")
        }
        loaded = await change(client, "load", version=2)
        assert shown(loaded)[:2] == [(1, "served", True), (2, "served", False)]
        assert (await ask(client)).json()["model"] == "tiny@1"
        assert shown(await change(client, "switch", version=2))[:2] == [(1, "served", False), (2, "served", True)]
        assert (await ask(client)).json()["model"] == "tiny@2"
        assert shown(await change(client, "rollback"))[:2] == [(1, "served", True), (2, "served", False)]
        assert (await ask(client)).json()["model"] == "tiny@1"
        assert shown(await change(client, "unload", version=2))[:2] == [(1, "served", True), (2, "on_disk", False)]
        assert [model["id"] for model in (await client.get("/v1/models")).json()["data"]] == ["tiny@1"]
        assert 'vlpserve_model_ready{model="tiny@2"}' not in (await client.get("/metrics")).text
        assert (await client.get("/readyz")).status_code == 200


async def test_what_is_refused_says_why(repository: Path) -> None:
    async with served(repository) as client:
        refusals = [
            (await change(client, "load", version=3), 409, "model_conflict", "tiny@3' cannot be served: canary"),
            (await change(client, "load", version=9), 404, "model_not_found", "no version 9 on disk"),
            (await change(client, "load", "nobody", version=1), 404, "model_not_found", "in none of the repositories"),
            (await change(client, "switch", version=2), 404, "model_not_found", "load it first"),
            (await change(client, "rollback"), 409, "model_conflict", "nothing to roll back to"),
            (await change(client, "unload", version=1), 409, "model_conflict", "nothing else could answer for 'tiny'"),
            (await change(client, "load"), 400, "invalid_argument", "version: missing"),
            (await change(client, "load", version="2"), 400, "invalid_argument", "valid integer"),
            (await change(client, "load", version=0), 400, "invalid_argument", "version: "),
            (await change(client, "load", version=10**12), 400, "invalid_argument", "version: "),
            (await change(client, "load", version=2, path="/x"), 400, "invalid_argument", "unknown field 'path'"),
            (await change(client, "switch", version=2, force=True), 400, "invalid_argument", "unknown field 'force'"),
            (await change(client, "rollback", version=1), 400, "invalid_argument", "unknown field 'version'"),
            (await client.post(f"{ADMIN}/tiny/rollback"), 415, "unsupported_media_type", "Content-Type"),
        ]
        for response, status, kind, text in refusals:
            body = response.json()
            assert (response.status_code, body["kind"]) == (status, kind)
            assert text in body["detail"]
            assert response.headers["content-type"] == "application/problem+json"
        assert shown(await client.get(ADMIN)) == [(1, "served", True), (2, "on_disk", False), (3, "failed", False)]


async def test_loading_goes_on_after_the_deadline_of_its_call(repository: Path) -> None:
    go, made = threading.Event(), []

    def make_slowly(settings: EngineSettings) -> Engine:
        assert not made or go.wait(10)
        made.append(build_engine(settings))
        return made[-1]

    config = ServerConfig(http=HttpConfig(admin=True, admin_timeout_s=0.01))
    async with served(repository, config, make_engine=make_slowly) as client:
        for headers in ({}, {"X-Request-Timeout-Ms": "1"}):
            late = await client.post(f"{ADMIN}/tiny/load", json={"version": 2}, headers=headers)
            assert (late.status_code, late.json()["kind"]) == (504, "deadline_exceeded")
        assert shown(await client.get(ADMIN))[1] == (2, "loading", False)
        go.set()
        joined = await client.post(f"{ADMIN}/tiny/load", json={"version": 2}, headers={"X-Request-Timeout-Ms": "60000"})
        assert shown(joined)[1] == (2, "served", False)


@pytest.mark.parametrize("way", WAYS)
async def test_without_keys_the_routes_are_closed_unless_the_configuration_opens_them(
    way: str, repository: Path
) -> None:
    async with served(repository, ServerConfig()) as client:
        refused = await change(client, way, version=1, force=True)
        assert (refused.status_code, refused.json()["kind"]) == (403, "permission_denied")
        assert "http.admin" in refused.json()["detail"]
        assert (await client.get(ADMIN)).status_code == 403
        assert (await ask(client)).status_code == 200


async def test_not_one_of_many_requests_fails_while_versions_change(repository: Path) -> None:
    async with served(repository) as client:
        stop, replies = asyncio.Event(), []

        async def keep_asking() -> None:
            while not stop.is_set():
                replies.append(await ask(client))

        callers = [asyncio.create_task(keep_asking()) for _ in range(8)]
        for version, other in ((2, 1), (1, 2), (2, 1)):
            for what, wanted in (("load", version), ("switch", version), ("unload", other)):
                assert (await change(client, what, version=wanted)).status_code == 200
        stop.set()
        await asyncio.gather(*callers)
        assert {reply.status_code for reply in replies} == {200}
        best = {(reply.json()["model"], reply.json()["answers"][0]["answer"]) for reply in replies}
        assert dict(best).keys() == {"tiny@1", "tiny@2"}
        assert len(best) == len(set(dict(best).values())) == 2


def test_the_description_tells_what_each_call_takes() -> None:
    paths = json.loads(openapi_text())["paths"]
    for way in WAYS:
        operation = paths[f"{ADMIN}/{{name}}/{way}"]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert set(schema["properties"]) == {
            "rollback": set(),
            "unload": {"version", "force"},
        }.get(way, {"version"})
        answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer == {"$ref": "#/components/schemas/ModelVersions"}
        assert {"403", "404", "409", "504"} <= set(operation["responses"])


@pytest.fixture
def bridge(repository: Path) -> Iterator[Callable[[ServerConfig], AsgiBridge]]:
    loop = LoopThread()
    service = service_of(repository)
    loop.run(service.start())
    assert loop.run(service.wait_ready(30)).ready
    yield lambda config: AsgiBridge(create_app(service, config), loop)
    loop.run(service.close())
    loop.close()


def test_the_sdk_rolls_forward_and_back(bridge: Callable[[ServerConfig], AsgiBridge]) -> None:
    with Client("http://server", transport=bridge(OPEN)) as client:
        first, second, third = client.admin.versions()
        assert first == ModelVersion("tiny", 1, "served", "", current=True, previous=False, requests=0)
        assert (second.state, third.version) == ("on_disk", 3)
        assert client.admin.load("tiny", 2, deadline_s=60)[1].state == "served"
        assert [one.current for one in client.admin.switch("tiny", 2)] == [False, True, False]
        assert client.vqa(png(), "what colour is it", model="tiny").model == "tiny@2"
        assert [one.current for one in client.admin.rollback("tiny")] == [True, False, False]
        with pytest.raises(RequestError) as refused:
            client.admin.unload("tiny", 1)
        assert (refused.value.kind, refused.value.status) == ("model_conflict", 409)
        client.admin.unload("tiny", 2)
        assert [one.state for one in client.admin.unload("tiny", 1, force=True)] == ["on_disk"] * 3
        with pytest.raises(ValueError, match="is no name"):
            client.admin.rollback("..")


def test_the_sdk_rebuilds_the_refusal_of_a_closed_server(bridge: Callable[[ServerConfig], AsgiBridge]) -> None:
    with Client("http://server", transport=bridge(ServerConfig())) as client, pytest.raises(PermissionDeniedError):
        client.admin.versions()


@pytest.fixture
def run(bridge: Callable[[ServerConfig], AsgiBridge], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(server_url, "Client", functools.partial(Client, transport=bridge(OPEN)))
    return lambda *arguments: CliRunner().invoke(cli, ["models", *arguments])


def test_the_command_shows_what_became_of_the_model(run: Callable[..., Result]) -> None:
    done = run("load", "tiny@2")
    assert done.exit_code == 0, done.output
    head, *rows = done.output.splitlines()
    assert head.split() == ["model", "state", "name", "means", "requests", "reason"]
    assert [row.split() for row in rows] == [
        ["tiny@1", "served", "this", "0"],
        ["tiny@2", "served", "0"],
        ["tiny@3", "on", "disk", "0"],
    ]
    assert run("switch", "tiny@2").exit_code == 0
    listed = json.loads(run("versions", "tiny", "--json").output)["models"]
    assert [(one["version"], one["current"], one["previous"]) for one in listed][:2] == [
        (1, False, True),
        (2, True, False),
    ]
    assert run("rollback", "tiny").exit_code == 0
    assert run("unload", "tiny@2").exit_code == 0
    refused = run("unload", "tiny@1")
    assert (refused.exit_code, "with force" in refused.stderr) == (1, True)
    assert run("unload", "tiny@1", "--force").exit_code == 0
    assert "no such model" in run("versions", "nobody").output


@pytest.mark.parametrize(
    "arguments",
    [
        ("load", "tiny"),
        ("load", "tiny@stable"),
        ("load", "@1"),
        ("switch", "tiny@0"),
        ("unload", "tiny@" + "9" * 5000),
        ("load", ".@1"),
        ("--json", "load", "tiny@2"),
    ],
)
def test_a_command_line_that_means_nothing_asks_nobody(arguments: tuple[str, ...], run: Callable[..., Result]) -> None:
    assert run(*arguments).exit_code == 2
    found = json.loads(run("versions", "--json").output)["models"]
    assert [one["state"] for one in found] == ["served", "on_disk", "on_disk"]
