"""What the connection itself bounds, over real sockets on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from vlp_server.config import HttpConfig, ServerConfig
from vlp_server.http import protocol
from vlp_server.http.app import create_app
from vlp_server.http.server import bind

HEAD = "POST /v1/vqa?question=a HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"


@asynccontextmanager
async def listening(service: Any, **http: Any) -> AsyncIterator[int]:
    config = ServerConfig(http=HttpConfig(**http))
    listener = bind("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(service, config),
            http=protocol.bounded_protocol(config.http),
            ws="none",
            lifespan="off",
            log_config=None,
            timeout_keep_alive=1,
        )
    )
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        listener.close()


class Raw:
    """A client that sends whatever bytes it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, text: str | bytes) -> None:
        self.writer.write(text.encode() if isinstance(text, str) else text)

    async def answer(self) -> tuple[int, dict[str, Any]]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        return int(head.split()[1]), json.loads(await self.reader.readexactly(length))

    async def rest(self) -> bytes:
        """All bytes until the server closes."""
        return await self.reader.read()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[int], Any]]:
    writers: list[asyncio.StreamWriter] = []

    async def open_raw(port: int) -> Raw:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        return Raw(reader, writer)

    async with asyncio.timeout(20):
        yield open_raw
    for writer in writers:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.parametrize("sent", ["", "POST /v1/vqa HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_headers_that_never_end_are_cut_off(sent: str, scripted: Any, connect: Any) -> None:
    async with listening(scripted, header_timeout_s=0.1) as port:
        raw = await connect(port)
        raw.send(sent)
        if sent:
            status, body = await raw.answer()
            assert (status, body["kind"]) == (408, "request_timeout")
        assert await raw.rest() == b""


async def test_headers_that_are_too_large_are_refused(scripted: Any, connect: Any) -> None:
    async with listening(scripted, header_limit_bytes=1000) as port:
        raw = await connect(port)
        raw.send("GET /livez HTTP/1.1\r\nX-Long: " + "a" * 1000)
        status, body = await raw.answer()
        assert (status, body["kind"]) == (431, "headers_too_large")
        assert await raw.rest() == b""


async def test_bytes_that_are_not_http_get_a_problem(scripted: Any, connect: Any) -> None:
    async with listening(scripted) as port:
        raw = await connect(port)
        raw.send("\x16\x03\x01 hello\r\n\r\n")
        status, body = await raw.answer()
        assert (status, body["kind"]) == (400, "invalid_argument")
        assert await raw.rest() == b""


async def test_a_connection_serves_one_request_after_the_other(scripted: Any, connect: Any) -> None:
    async with listening(scripted) as port:
        raw = await connect(port)
        for _ in range(3):
            raw.send(HEAD + "Content-Length: 3\r\n\r\nabc")
            assert (await raw.answer())[0] == 200
        raw.send(2 * "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [(await raw.answer())[0] for _ in range(2)] == [200, 200]


async def test_a_refused_upload_may_end_and_the_connection_lives_on(scripted: Any, connect: Any) -> None:
    async with listening(scripted, body_limit_bytes=1000) as port:
        raw = await connect(port)
        raw.send(HEAD + "Content-Length: 500000\r\n\r\n")
        status, body = await raw.answer()
        assert (status, body["kind"]) == (413, "too_large")
        raw.send(b"x" * 500_000)
        raw.send(HEAD + "Content-Length: 3\r\n\r\nabc")
        assert (await raw.answer())[0] == 200


async def test_a_refused_upload_that_drips_on_is_closed(
    scripted: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LINGER_S", 0.1)
    async with listening(scripted, body_limit_bytes=1000) as port:
        raw = await connect(port)
        raw.send(HEAD + "Content-Length: 500000\r\n\r\n")
        assert (await raw.answer())[0] == 413
        raw.send(b"x")
        assert await raw.rest() == b""


async def test_empty_lines_do_not_keep_a_connection(scripted: Any, connect: Any) -> None:
    async with listening(scripted, header_timeout_s=0.1) as port:
        raw = await connect(port)
        raw.send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await raw.answer())[0] == 200
        raw.send("\r\n")
        assert await raw.rest() == b""


async def test_an_idle_connection_is_closed(scripted: Any, connect: Any) -> None:
    async with listening(scripted) as port:
        raw = await connect(port)
        raw.send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await raw.answer())[0] == 200
        assert await raw.rest() == b""


async def test_a_client_that_hangs_up_cancels_its_work(scripted: Any, connect: Any) -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    scripted.behave = wait
    async with listening(scripted) as port:
        raw = await connect(port)
        raw.send(HEAD + "Content-Length: 3\r\n\r\nabc")
        await entered.wait()
        raw.writer.close()
        await cancelled.wait()
    assert cancelled.is_set()


async def test_who_hangs_up_cancels_the_request_that_is_answered_and_not_the_last_one_sent(
    scripted: Any, connect: Any
) -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    scripted.behave = wait
    async with listening(scripted) as port:
        raw = await connect(port)
        raw.send(2 * (HEAD + "Content-Length: 3\r\n\r\nabc"))
        await entered.wait()
        raw.writer.close()
        await cancelled.wait()
    assert len(scripted.calls) == 1


async def test_a_slow_body_behind_an_answered_request_is_not_taken_for_the_rest_of_its_body(
    scripted: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LINGER_S", 0.05)
    release = asyncio.Event()
    scripted.behave = release.wait
    async with listening(scripted) as port:
        raw = await connect(port)
        raw.send(HEAD + "Content-Length: 3\r\n\r\nabc" + HEAD + "Content-Length: 3\r\n\r\na")
        while not scripted.calls:
            await asyncio.sleep(0)
        release.set()
        assert (await raw.answer())[0] == 200
        await asyncio.sleep(0.2)
        raw.send("bc")
        assert (await raw.answer())[0] == 200


@pytest.mark.parametrize("given", ["mine", "two words"])
async def test_a_refusal_of_the_connection_has_the_id_of_the_request_where_it_is_plain(
    given: str, scripted: Any, connect: Any
) -> None:
    async with listening(scripted, header_limit=5) as port:
        raw = await connect(port)
        raw.send(f"GET /livez HTTP/1.1\r\nX-Request-Id: {given}\r\n" + "X: y\r\n" * 9 + "\r\n")
        status, body = await raw.answer()
    assert status == 431
    assert (body["request_id"] == given) is (given == "mine")
