"""Calls that end in time, and answers that are closed while they are read, against servers of real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from vlp_client import AsyncClient, Client, ProtocolError, TimeoutError, Timeouts

WAIT_S = 10.0
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
WORD = b'data: {"text": "w"}\n\n'
# Longer than any call here may take, and short enough for a test that fails.
PATIENT = Timeouts(read_s=5.0, total_s=0.3)


class Site:
    """A server that answers each connection by a function, and knows when it was left."""

    def __init__(self, answer: Callable[[socket.socket, threading.Event], None]) -> None:
        self.left = threading.Event()
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        connection.settimeout(WAIT_S)
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            self._answer(connection, self.left)
            while connection.recv(65536):
                pass  # more of the request
            self.left.set()


@contextmanager
def serving(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[Site]:
    site = Site(answer)
    try:
        yield site
    finally:
        site.close()


def drip(connection: socket.socket, left: threading.Event, pieces: bytes | list[bytes]) -> None:
    """Something every 50 ms, until the caller leaves or four seconds are over."""
    try:
        for piece in pieces:
            connection.sendall(bytes([piece]) if isinstance(piece, int) else piece)
            threading.Event().wait(0.05)
    except OSError:
        left.set()


def stall_late(connection: socket.socket, left: threading.Event) -> None:
    threading.Event().wait(0.2)
    connection.sendall(JSON)


def drip_headers(connection: socket.socket, left: threading.Event) -> None:
    drip(connection, left, b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 80)


def drip_body(connection: socket.socket, left: threading.Event) -> None:
    drip(connection, left, [JSON, *[b" "] * 80])


@pytest.mark.parametrize("answer", [stall_late, drip_headers, drip_body])
@pytest.mark.parametrize("twin", [Client, AsyncClient])
async def test_a_call_ends_in_its_time_however_slowly_the_answer_comes(answer: Any, twin: Any) -> None:
    with serving(answer) as site:
        client = twin(site.url, timeout_s=PATIENT, retries=None)
        with pytest.raises(TimeoutError, match=r"no answer within 0.3 s"):
            await asked(client.models)
        if answer is not drip_headers:  # of which a blocking thread cannot be woken: it ends with them
            assert await asyncio.to_thread(site.left.wait, WAIT_S)


@pytest.mark.parametrize("twin", [Client, AsyncClient])
@pytest.mark.parametrize("stalls", [False, True])
async def test_a_stream_ends_in_its_time(twin: Any, stalls: bool) -> None:
    def answer(connection: socket.socket, left: threading.Event) -> None:
        drip(connection, left, [EVENTS, *[WORD] * (1 if stalls else 80)])

    with serving(answer) as site:
        client = twin(site.url, timeout_s=PATIENT, retries=None)
        stream = await asked(client.stream_caption, b"x")
        with pytest.raises(TimeoutError, match=r"no answer within 0.3 s"):
            await all_of(stream)
        assert await all_of(stream) == []
        assert await asyncio.to_thread(site.left.wait, WAIT_S)


async def asked(verb: Callable[..., Any], *arguments: Any) -> Any:
    """What either twin answers; the blocking one in a thread, so that it holds up nobody."""
    if asyncio.iscoroutinefunction(verb):
        return await verb(*arguments)
    return await asyncio.to_thread(verb, *arguments)


async def all_of(stream: Any) -> list[str]:
    if hasattr(stream, "__anext__"):
        return [word async for word in stream]
    return await asyncio.to_thread(list, stream)


def one_word(connection: socket.socket, left: threading.Event) -> None:
    connection.sendall(EVENTS + WORD)


def test_a_stream_may_be_closed_by_another_thread() -> None:
    with serving(one_word) as site, Client(site.url, timeout_s=WAIT_S) as client:
        stream = client.stream_caption(b"x")
        begun, words = threading.Event(), list[str]()

        def read() -> None:
            for word in stream:
                words.append(word)
                begun.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        assert begun.wait(WAIT_S)
        stream.close()
        assert site.left.wait(WAIT_S)
        reader.join(WAIT_S)
        assert not reader.is_alive()
        assert words == ["w"]


async def test_a_stream_may_be_closed_by_another_task() -> None:
    with serving(one_word) as site:
        async with AsyncClient(site.url, timeout_s=WAIT_S) as client:
            stream = await client.stream_caption(b"x")
            begun = asyncio.Event()

            async def read() -> list[str]:
                words = []
                async for word in stream:
                    words.append(word)
                    begun.set()
                return words

            reading = asyncio.create_task(read())
            await asyncio.wait_for(begun.wait(), WAIT_S)
            await stream.aclose()
            assert await asyncio.wait_for(reading, WAIT_S) == ["w"]
            assert await asyncio.to_thread(site.left.wait, WAIT_S)


@pytest.mark.parametrize("twin", [Client, AsyncClient])
async def test_a_stream_that_is_not_in_its_encoding_is_no_stream_of_this_api(twin: Any) -> None:
    def answer(connection: socket.socket, left: threading.Event) -> None:
        connection.sendall(EVENTS[:-2] + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello")

    with serving(answer) as site:
        stream = await asked(twin(site.url, timeout_s=WAIT_S).stream_caption, b"x")
        with pytest.raises(ProtocolError, match="not in the encoding"):
            await all_of(stream)


def test_a_fault_in_time_is_the_calls_own() -> None:
    def answer(connection: socket.socket, left: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n[]")

    with serving(answer) as site, Client(site.url, timeout_s=Timeouts(read_s=5.0, total_s=5.0), retries=None) as client:
        with pytest.raises(ProtocolError):
            client.models()
        assert client.ready() is True
