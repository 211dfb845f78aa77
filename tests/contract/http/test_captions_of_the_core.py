"""Captions through the door and the real core, over the dummy that writes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pictures_made as pictures
import pytest
from leaving_client import LeavingClient
from service_rig import read_metric, until
from vlp_server.config import ServerConfig
from vlp_server.core.service import Service
from vlp_server.core.settings import CacheSettings, CoreSettings, EngineSettings, ModelSettings
from vlp_server.http.app import create_app

PICTURE = pictures.jpeg()
SLOW_S = 0.02


class Served:
    """A door on a service of its own."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.app: Any = create_app(service, ServerConfig())
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://door")

    async def caption(self, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        return await self.client.post("/v1/caption", files={"image": PICTURE}, data=fields, headers=headers)

    async def stream(self, headers: dict[str, str] | None = None, **fields: Any) -> list[tuple[str, dict[str, Any]]]:
        response = await self.caption(headers, stream="true", **fields)
        assert response.status_code == 200, response.text
        events = [block.rpartition("data: ") for block in response.text.split("\n\n")[:-1]]
        return [(head.strip().removeprefix("event: "), json.loads(data)) for head, _, data in events]

    def counted(self, outcome: str) -> float:
        return read_metric(self.service.metrics, "vlpserve_requests_total", outcome=outcome)


@asynccontextmanager
async def serving(latency_s: float = 0.0) -> AsyncIterator[Served]:
    engine = EngineSettings(engine="dummy", dummy_latency_s=latency_s)
    models = tuple(ModelSettings(reference=name, engine=engine) for name in ("dummy-captioner", "dummy"))
    settings = CoreSettings(models=models, preprocess_threads=1, cache=CacheSettings(answer_entries=0))
    service = Service(settings)
    await service.start()
    assert (await service.wait_ready(30)).ready
    served = Served(service)
    async with served.client:
        yield served
    await service.close()


async def test_the_words_of_a_stream_are_the_caption() -> None:
    async with serving() as served:
        whole = (await served.caption(prompt="hello there")).json()
        *words, (name, answer) = await served.stream(prompt="hello there")
    assert len(words) > 2
    assert "".join(document["text"] for _, document in words) == whole["captions"][0]["text"]
    timings = answer.pop("timings_ms")
    assert (name, answer) == ("done", whole)
    assert {"queue", "preprocess", "infer", "total"} <= set(timings)


async def test_a_stream_that_was_read_to_its_end_counts_as_one() -> None:
    async with serving() as served:
        await served.stream()
        assert served.counted("ok") + served.counted("success") == 1
        assert served.counted("cancelled") == 0


async def test_several_captions_come_at_the_end() -> None:
    async with serving() as served:
        *words, (_, answer) = await served.stream(num_beams=3, num_captions=2)
    assert "".join(document["text"] for _, document in words) == answer["captions"][0]["text"]
    assert len(answer["captions"]) == 2


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize(
    ("fields", "status", "kind", "at_fault"),
    [
        ({"prompt": "x" * 5000}, 413, "too_large", None),
        ({"prompt": "word " * 300, "max_tokens": "400"}, 400, "invalid_argument", "max_tokens"),
        ({"prompt": "[nan]"}, 500, "inference_failed", None),
        ({"model": "nobody"}, 404, "model_not_found", None),
        ({"model": "dummy"}, 400, "task_not_supported", None),
        ({"num_captions": "3", "num_beams": "2"}, 400, "invalid_argument", "num_captions"),
    ],
    ids=["prompt too long", "no room left", "a model that fails", "unknown model", "another task", "too few beams"],
)
async def test_what_the_core_refuses_keeps_its_status(
    stream: str, fields: dict[str, Any], status: int, kind: str, at_fault: str | None
) -> None:
    async with serving() as served:
        response = await served.caption(stream=stream, **fields)
        after = await served.caption()
    body = response.json()
    assert (response.status_code, body["kind"], body.get("field")) == (status, kind, at_fault), body
    assert after.status_code == 200


async def test_a_deadline_in_the_middle_is_the_last_event() -> None:
    async with serving(SLOW_S) as served:
        await served.caption()
        *words, (name, problem) = await served.stream(
            {"X-Request-Timeout-Ms": "400"}, max_tokens="200", min_tokens="200"
        )
    assert len(words) > 1
    assert (name, problem["kind"], problem["status"]) == ("error", "deadline_exceeded", 504)


async def test_a_client_that_goes_away_frees_its_place() -> None:
    async with serving(SLOW_S) as served:
        gone = asyncio.Event()
        client = LeavingClient(served.app, gone)
        query = b"stream=true&max_tokens=500&min_tokens=500"
        request = asyncio.create_task(
            client.post("/v1/caption", PICTURE, content_type="image/jpeg", query=query),
        )
        await until(lambda: client.chunks)
        gone.set()
        await request
        metrics = served.service.metrics
        assert read_metric(metrics, "vlpserve_requests_inside") == 0
        await until(lambda: read_metric(metrics, "vlpserve_dropped_items_total", reason="cancelled") == 1)
        assert served.counted("cancelled") == 1
        assert not client.whole


async def test_a_core_that_closes_in_the_middle_is_told() -> None:
    async with serving(SLOW_S) as served:
        client = LeavingClient(served.app, asyncio.Event())
        query = b"stream=true&max_tokens=500&min_tokens=500"
        request = asyncio.create_task(
            client.post("/v1/caption", PICTURE, content_type="image/jpeg", query=query),
        )
        await until(lambda: client.chunks)
        await served.service.close()
        await request
    last = client.chunks[-1].decode()
    assert last.startswith("event: error\n")
    assert json.loads(last.partition("data: ")[2])["kind"] == "unavailable"
    assert client.whole


async def test_the_list_names_the_task() -> None:
    async with serving() as served:
        listed = (await served.client.get("/v1/models")).json()["data"]
    assert {model["name"]: model["default_for"] for model in listed} == {
        "dummy-captioner": ["caption"],
        "dummy": ["vqa"],
    }
