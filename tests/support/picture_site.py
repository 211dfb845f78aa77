"""A web site on this machine that pictures are fetched from; 127.0.0.1 stands for the public internet."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from vlp_server.config import UrlFetchConfig
from vlp_server.intake.fetch import UrlFetcher

# Of pictures.example and bücher.example, signed by itself, until 2126.
CERTIFICATE = Path(__file__).with_name("pictures_example.pem")

Answer = Callable[[str, str], bytes | None]


@asynccontextmanager
async def site(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[str]]]:
    """A local server that answers (host header, path) with raw bytes; None never answers."""
    seen: list[str] = []
    talks: list[asyncio.Task[None]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.append(task)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        host = next(line[6:] for line in head.splitlines() if line.lower().startswith("host: "))
        seen.append(host + path)
        reply = answer(host, path)
        if reply is None:
            await reader.read()
        else:
            writer.write(reply)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*talks)


def count_nothing(size_bytes: int) -> None:
    pass


def ok(content: bytes, more: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n{more}\r\n".encode() + content


def redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


def resolver(names: dict[str, list[str]]) -> Callable[[str, int], Awaitable[list[str]]]:
    async def resolve(host: str, port: int) -> list[str]:
        if host not in names:
            raise OSError(host)
        return names[host]

    return resolve


NAMES = {
    "pictures.example": ["127.0.0.1"],
    "elsewhere.example": ["127.0.0.1"],
    "xn--bcher-kva.example": ["127.0.0.1"],
    "inside.example": ["10.0.0.1"],
    "both.example": ["127.0.0.1", "10.0.0.1"],
}


def fetcher(port: int, tls: ssl.SSLContext | None = None, **limits: float) -> UrlFetcher:
    """127.0.0.1 stands for the public internet here, and 10.0.0.1 for what is private."""
    config = UrlFetchConfig(enabled=True, ports=(port,), **limits)  # type: ignore[arg-type]
    return UrlFetcher(config, resolver(NAMES), lambda address: address == "127.0.0.1", tls)
