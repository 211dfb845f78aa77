"""Pictures named by URL in the calls of every task, fetched as those of questions are."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pictures_made as pictures
import pytest
from chat_bodies import user
from leaving_client import LeavingClient
from picture_site import fetcher, ok, site
from vlp_server.config import HttpConfig, ServerConfig, UrlFetchConfig
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings, EngineSettings, ModelSettings
from vlp_server.http.app import create_app
from vlp_server.intake.picture_source import PARALLEL_FETCHES

PICTURE = pictures.jpeg()
DATA_URI = f"data:image/jpeg;base64,{base64.b64encode(PICTURE).decode()}"
NAMES = (
    "dummy",
    "dummy-encoder",
    "dummy-matcher",
    "dummy-entailment",
    "dummy-reasoning",
    "dummy-grounding",
    "dummy-extractor",
    "dummy-captioner",
)
FETCHING = UrlFetchConfig(enabled=True)
DEADLINE = {"X-Request-Timeout-Ms": "500"}


def embeddings(*urls: str) -> dict[str, Any]:
    return {"input": ["a cat", *({"image": url} for url in urls)]}


CALLS = pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", embeddings),
        ("/v1/classify", lambda url: {"image": url, "labels": ["cat", "dog"]}),
        ("/v1/match", lambda url: {"image": url, "texts": ["a cat", "a dog"]}),
        ("/v1/entailment", lambda url: {"image": url, "hypothesis": "a cat"}),
        ("/v1/reasoning", lambda url: {"images": [DATA_URI, url], "statement": "a cat"}),
        ("/v1/grounding", lambda url: {"image": url, "phrase": "a cat"}),
        ("/v1/regions", lambda url: {"image": url, "features": True}),
        ("/v1/chat/completions", lambda url: {"messages": [user(url, "what?")]}),
    ],
)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    models = tuple(ModelSettings(reference=name, engine=EngineSettings(engine="dummy")) for name in NAMES)
    service = Service(CoreSettings(models=models, preprocess_threads=1))
    await service.start()
    assert (await service.wait_ready(30)).ready
    yield service
    await service.close()


@asynccontextmanager
async def door(
    service: Service, fetches: Any, http: HttpConfig | None = None, fetching: UrlFetchConfig = FETCHING
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(service, ServerConfig(http=http or HttpConfig(), url_fetch=fetching), fetcher=fetches)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door") as client:
        yield client


def url(port: int, path: str = "a.jpg") -> str:
    return f"http://pictures.example:{port}/{path}"


@CALLS
async def test_the_model_gets_what_is_behind_the_url(path: str, body: Any, service: Service) -> None:
    async with site(lambda host, path: ok(PICTURE)) as (port, seen), door(service, fetcher(port)) as client:
        fetched = await client.post(path, json=body(url(port)))
        sent = await client.post(path, json=body(DATA_URI))
    assert fetched.status_code == 200
    own = {"id": None, "created": None}  # of an answer alone
    assert {**fetched.json(), **own} == {**sent.json(), **own}
    assert seen == [f"pictures.example:{port}/a.jpg"]


@CALLS
async def test_a_site_that_does_not_answer_ends_with_the_callers_deadline(
    path: str, body: Any, service: Service
) -> None:
    async with (
        asyncio.timeout(8),
        site(lambda host, path: None) as (port, seen),
        door(service, fetcher(port)) as client,
    ):
        response = await client.post(path, json=body(url(port)), headers=DEADLINE)
    assert response.status_code == 504
    assert len(seen) == 1


@CALLS
async def test_a_client_that_goes_away_ends_its_fetch(path: str, body: Any, service: Service) -> None:
    asked = asyncio.Event()

    def answer(host: str, path: str) -> None:
        asked.set()

    async with site(answer) as (port, _):
        app = create_app(service, ServerConfig(url_fetch=FETCHING), fetcher=fetcher(port))
        client = LeavingClient(app, asked)
        async with asyncio.timeout(8):
            await client.post(path, json.dumps(body(url(port))).encode())
    assert client.statuses[0] == 499
    assert app.state.door.room.inside == 0


class Fetcher:
    """Gives so many bytes for every URL, and remembers how many were asked for."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes, self.asked = size_bytes, 0

    async def fetch(self, url: str, take: Any) -> bytes:
        self.asked += 1
        take(self.size_bytes)
        return PICTURE


async def test_all_pictures_of_one_call_are_bounded_together(service: Service) -> None:
    limits = HttpConfig(body_limit_bytes=2000)
    fetches = Fetcher(900)
    async with door(service, fetches, limits, UrlFetchConfig(enabled=True, max_bytes=1000)) as client:
        response = await client.post("/v1/embeddings", json=embeddings(*(url(80, str(index)) for index in range(40))))
        assert response.status_code == 413
        assert "2000 bytes together" in response.json()["error"]["message"]
        assert fetches.asked <= 3 + PARALLEL_FETCHES  # those that were under way when the bound was met
        assert (await client.post("/v1/embeddings", json=embeddings(url(80), url(80, "b")))).status_code == 200


async def test_both_pictures_of_a_pair_are_fetched_and_each_keeps_its_side(service: Service) -> None:
    other = pictures.encode(pictures.gradient().rotate(180), "PNG")

    def answer(host: str, path: str) -> bytes:
        return ok(PICTURE if path == "/a.jpg" else other)

    async with site(answer) as (port, seen), door(service, fetcher(port)) as client:
        ways = [("a.jpg", "b.jpg"), ("b.jpg", "a.jpg")]
        fetched = [
            await client.post("/v1/reasoning", json={"images": [url(port, one) for one in way], "statement": "a"})
            for way in ways
        ]
        sent = await client.post(
            "/v1/reasoning", files=[("image", ("a", PICTURE)), ("image", ("b", other))], data={"statement": "a"}
        )
    assert fetched[0].json() == sent.json() != fetched[1].json()
    assert len(seen) == 4


async def test_both_pictures_of_a_pair_are_bounded_together(service: Service) -> None:
    fetches = Fetcher(900)
    limits, fetching = HttpConfig(body_limit_bytes=1000), UrlFetchConfig(enabled=True, max_bytes=1000)
    async with door(service, fetches, limits, fetching) as client:
        body = {"images": [url(80, "a"), url(80, "b")], "statement": "a"}
        response = await client.post("/v1/reasoning", json=body)
    assert (response.status_code, response.json()["kind"]) == (413, "too_large")
