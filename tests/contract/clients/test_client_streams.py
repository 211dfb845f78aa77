"""Whoever leaves a streamed caption ends the server's work on it: both twins, both transports, one real server."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import httpx
import pictures_made as pictures
import pytest
from server_process import ServerProcess
from vlp_client import AsyncClient, CapacityError, Client

WAYS = ("http", "http async", "grpc", "grpc async")
# Ten seconds of words: who sees the work end sooner has seen it being ended.
LONG: dict[str, Any] = {"max_tokens": 500, "min_tokens": 500}
LIMIT_S = 8.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    with ServerProcess(folder, "dummy-captioner", VLPSERVE_ENGINE_DUMMY_LATENCY_S="0.02") as server:
        yield server


def open_client(server: ServerProcess, way: str) -> Any:
    url = server.grpc_url if way.startswith("grpc") else server.url
    return (AsyncClient if way.endswith("async") else Client)(url)


async def get(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def close(owner: Any) -> None:
    await get(owner.aclose() if hasattr(owner, "aclose") else owner.close())


async def some(stream: Any, count: int) -> str:
    """The first words."""
    return "".join([await anext(stream) if hasattr(stream, "__anext__") else next(stream) for _ in range(count)])


def figure(server: ServerProcess, *words: str) -> int:
    """The sum of the server's figures whose lines have all of these words."""
    lines = httpx.get(f"{server.url}/metrics", trust_env=False).text.splitlines()
    found = [line for line in lines if not line.startswith("#") and all(word in line for word in words)]
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in found))


def inside(server: ServerProcess) -> int:
    return figure(server, "vlpserve_requests_inside ")


def left(server: ServerProcess) -> int:
    """Requests whose callers left."""
    return figure(server, "vlpserve_requests_total{", 'outcome="cancelled"')


async def fail_inside(stream: Any) -> None:
    if hasattr(stream, "__aenter__"):
        async with stream as words:
            async for _ in words:
                raise ZeroDivisionError
    with stream as words:
        for _ in words:
            raise ZeroDivisionError


async def ended(server: ServerProcess) -> None:
    async with asyncio.timeout(LIMIT_S):
        while await asyncio.to_thread(inside, server):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("way", WAYS)
async def test_closing_early_ends_the_work_and_the_client_goes_on(server: ServerProcess, way: str) -> None:
    before = left(server)
    client = open_client(server, way)
    stream = await get(client.stream_caption(pictures.jpeg(), **LONG))
    assert await some(stream, 3)
    assert inside(server) == 1
    await close(stream)
    await ended(server)
    assert stream.answer is None
    assert left(server) == before + 1
    await close(stream)  # closing what is closed does nothing
    assert (await get(client.caption(pictures.jpeg(), max_tokens=3))).best
    await close(client)


@pytest.mark.parametrize("way", WAYS)
async def test_leaving_the_block_by_an_error_ends_the_work(server: ServerProcess, way: str) -> None:
    client = open_client(server, way)
    stream = await get(client.stream_caption(pictures.jpeg(), **LONG))
    with pytest.raises(ZeroDivisionError):
        await fail_inside(stream)
    await ended(server)
    await close(client)


@pytest.mark.parametrize("way", WAYS)
async def test_closing_the_client_ends_what_it_had_begun(server: ServerProcess, way: str) -> None:
    client = open_client(server, way)
    stream = await get(client.stream_caption(pictures.jpeg(), **LONG))
    assert await some(stream, 2)
    await close(client)
    await ended(server)
    await close(stream)


@pytest.mark.parametrize("way", ["http async", "grpc async"])
async def test_a_cancelled_task_ends_the_work(server: ServerProcess, way: str) -> None:
    client = open_client(server, way)
    begun = asyncio.Event()

    async def read() -> None:
        async with await client.stream_caption(pictures.jpeg(), **LONG) as words:
            async for _ in words:
                begun.set()

    async def ask() -> None:
        await client.caption(pictures.jpeg(), **LONG)

    reading = asyncio.create_task(read())
    await asyncio.wait_for(begun.wait(), LIMIT_S)
    asking = asyncio.create_task(ask())
    async with asyncio.timeout(LIMIT_S):
        while await asyncio.to_thread(inside, server) < 2:
            await asyncio.sleep(0.02)
    for task in (reading, asking):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await ended(server)
    assert await client.ready()
    await close(client)


@pytest.mark.parametrize("way", WAYS)
async def test_a_deadline_that_passes_between_words_is_told(server: ServerProcess, way: str) -> None:
    client = open_client(server, way)
    stream = await get(client.stream_caption(pictures.jpeg(), deadline_s=0.5, **LONG))
    with pytest.raises(CapacityError) as caught:
        await some(stream, 500)
    assert caught.value.kind == "deadline_exceeded"
    await ended(server)
    await close(client)
