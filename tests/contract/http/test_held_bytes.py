"""The memory that bodies on their way hold is bounded, however many requests may be inside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import region_files as files
from vlp_server.config import HttpConfig, ServerConfig, UrlFetchConfig


class SlowBody:
    """Sends one chunk at once, and the rest when it is told."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.sent, self.go_on = asyncio.Event(), asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"x" * self.size_bytes
        self.sent.set()
        await self.go_on.wait()
        yield b"x"


async def send(client: httpx.AsyncClient, content: Any) -> httpx.Response:
    return await client.post(
        "/v1/vqa", params={"question": "a?"}, content=content, headers={"Content-Type": "image/png"}
    )


async def held_bytes(client: httpx.AsyncClient) -> float:
    text = (await client.get("/metrics")).text
    return float(text.partition("\nvlpserve_http_in_flight_bytes ")[2].partition("\n")[0])


async def test_bodies_that_are_still_arriving_count(door_with: Any, scripted: Any) -> None:
    async with door_with(ServerConfig(http=HttpConfig(max_in_flight_bytes=1000))) as client:
        slow = SlowBody(600)
        first = asyncio.create_task(send(client, slow))
        await slow.sent.wait()
        refused = await send(client, b"x" * 500)
        assert (refused.status_code, refused.json()["kind"]) == (429, "overloaded")
        assert "retry-after" in refused.headers
        assert scripted.calls == []
        assert (await send(client, b"x" * 300)).status_code == 200
        slow.go_on.set()
        assert (await first).status_code == 200
        assert (await send(client, b"x" * 1000)).status_code == 200
        assert await held_bytes(client) == 0


@pytest.mark.parametrize("fetched", [400, 800])
async def test_fetched_pictures_count_too(fetched: int, door_with: Any) -> None:
    class Fetcher:
        async def fetch(self, url: str, take: Any) -> bytes:
            take(fetched)
            return b"x" * fetched

    config = ServerConfig(http=HttpConfig(max_in_flight_bytes=1000), url_fetch=UrlFetchConfig(enabled=True))
    async with door_with(config, fetcher=Fetcher()) as client:
        slow = SlowBody(400)
        first = asyncio.create_task(send(client, slow))
        await slow.sent.wait()
        response = await client.post("/v1/vqa", json={"image": "http://pictures.example/a", "question": "a?"})
        assert response.status_code == (200 if fetched == 400 else 429)
        slow.go_on.set()
        assert (await first).status_code == 200
        assert await held_bytes(client) == 0


@pytest.mark.parametrize(("limit", "status"), [(200_000, 200), (30_000, 429)])
async def test_what_a_small_file_of_regions_grows_to_counts_too(limit: int, status: int, door_with: Any) -> None:
    sent = files.npz(files.many(100))
    assert len(sent) < 3000 < 100 * 4 * (4 + files.FEATURE_SIZE)
    async with door_with(ServerConfig(http=HttpConfig(max_in_flight_bytes=limit))) as client:
        slow = SlowBody(25_000)
        first = asyncio.create_task(send(client, slow))
        await slow.sent.wait()
        response = await client.post("/v1/vqa", files={"regions": sent}, data={"question": "a?"})
        assert response.status_code == status, response.text
        slow.go_on.set()
        assert (await first).status_code == 200
        assert await held_bytes(client) == 0


async def test_regions_are_counted_while_they_are_worked_on(door_with: Any, scripted: Any) -> None:
    seen: list[float] = []

    async def look() -> None:
        seen.append(await held_bytes(client))

    scripted.behave = look
    async with door_with(ServerConfig()) as client:
        sent = files.npz()
        await client.post("/v1/vqa", files={"regions": sent}, data={"question": "a?"})
        await client.post("/v1/vqa", json={"regions": files.as_json(), "question": "a?"})
        assert await held_bytes(client) == 0
    # Boxes, features, positions and scores of three regions, beside the body.
    arrays = 3 * 4 * (4 + files.FEATURE_SIZE + 7 + 1)
    assert seen[0] > arrays + len(sent)
    assert seen[1] > arrays + 4 * 3 * files.FEATURE_SIZE * 4 / 3


async def test_an_answer_with_features_is_held_until_it_is_sent(door_with: Any) -> None:
    async with door_with(ServerConfig(http=HttpConfig(max_in_flight_bytes=1000))) as client:
        response = await client.post("/v1/regions", files={"image": b"x"}, data={"features": "true"})
        assert response.status_code == 200
        assert await held_bytes(client) == 0
