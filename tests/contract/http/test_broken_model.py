"""Weights that run and answer wrongly, through the real service, engine and door: docs/decisions/008."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pictures_made import png
from service_rig import tiny_model
from tiny_repository import build_graph, publish
from vlp_server.config import HttpConfig, ServerConfig
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings
from vlp_server.http.app import create_app
from vlp_server.http.server import HttpServer, bind
from vlp_spec.errors import StartupError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two models; the digests of both are right, and the weights of one are not those that its canary was made with."""
    publish(tmp_path, "sound")
    publish(tmp_path, "rotten", graph=build_graph(scale=1.5))
    return tmp_path


def settings(repository: Path, *names: str) -> CoreSettings:
    return CoreSettings(models=tuple(tiny_model(repository, name) for name in names), preprocess_threads=1)


@asynccontextmanager
async def served(repository: Path, *names: str) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    service = Service(settings(repository, *names))
    await service.start()
    await service.wait_ready(30)
    transport = httpx.ASGITransport(create_app(service, ServerConfig()))
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        yield service, client
    await service.close()


async def ask(client: httpx.AsyncClient, model: str | None = None) -> httpx.Response:
    fields = {"question": "what colour is it", **({"model": model} if model else {})}
    return await client.post("/v1/vqa", files={"image": png()}, data=fields)


async def test_a_sound_model_is_ready(repository: Path) -> None:
    async with served(repository, "sound") as (_, client):
        assert (await client.get("/readyz")).json() == {"ready": True, "models": {"sound@1": "ready"}}
        assert (await ask(client)).status_code == 200


async def test_wrong_weights_that_run_are_not_ready(repository: Path) -> None:
    async with served(repository, "rotten") as (_, client):
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["kind"], ready.json()["ready"]) == (503, "unavailable", False)
        assert "rotten" in ready.json()["detail"]
        assert "canary: output 'logits' is off by" in ready.json()["detail"]
        assert (await ask(client)).status_code == 503
        assert (await client.get("/livez")).status_code == 200


async def test_one_broken_model_is_named_and_the_sound_one_answers(repository: Path) -> None:
    async with served(repository, "rotten", "sound") as (_, client):
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["models"]["sound@1"] == "ready"
        assert ready.json()["detail"].startswith("rotten: canary")
        assert "sound" not in ready.json()["detail"]
        refused = await ask(client, "rotten")
        assert (refused.status_code, refused.json()["kind"]) == (503, "unavailable")
        assert (await ask(client, "sound")).json()["model"] == "sound@1"
        states = {model["id"]: model["state"] for model in (await client.get("/v1/models")).json()["data"]}
        assert sorted(states.values()) == ["failed", "ready"]


async def test_weights_that_rot_while_serving(repository: Path) -> None:
    async with served(repository, "sound") as (service, client):
        model = next(iter(service._directory))
        assert model.loaded is not None
        assert (await ask(client)).status_code == 200
        right = model.loaded.engine.run
        model.loaded.engine.run = lambda key, feeds: {  # type: ignore[method-assign]
            name: array + 1 for name, array in right(key, feeds).items()
        }
        await model.check_canary()
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert "sound@1: canary: output 'logits' is off by 1" in ready.json()["detail"]
        assert (await ask(client)).status_code == 503


def test_the_process_stays_up_for_the_sound_model_and_tells_nobody_that_it_is_ready(
    repository: Path, tmp_path: Path
) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
    ready_file = tmp_path / "ready.json"
    seen: dict[str, int] = {}

    def call() -> None:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                for _ in range(400):
                    time.sleep(0.05)
                    try:
                        states = json.loads(client.get("/readyz").text).get("models", {})
                    except httpx.TransportError:
                        continue
                    if states.get("sound@1") == "ready" and states.get("rotten", "loading") != "loading":
                        break
                time.sleep(0.2)
                seen["ready"] = client.get("/readyz").status_code
                fields = {"question": "what colour is it", "model": "sound"}
                seen["sound"] = client.post("/v1/vqa", files={"image": png()}, data=fields).status_code
                seen["file"] = ready_file.exists()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    caller = threading.Thread(target=call)
    config = ServerConfig(ready_file=ready_file, http=HttpConfig(port=port, drain_timeout_s=1))
    caller.start()
    HttpServer(Service(settings(repository, "rotten", "sound")), config, pytest.fail).run()
    caller.join()
    assert seen == {"ready": 503, "sound": 200, "file": False}


def test_a_server_without_a_sound_model_ends_its_start(repository: Path) -> None:
    config = ServerConfig(http=HttpConfig(port=0))
    with pytest.raises(StartupError, match="rotten: canary"):
        HttpServer(Service(settings(repository, "rotten")), config, pytest.fail).run()
