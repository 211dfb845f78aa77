"""TLS in front of a plain server, as a proxy of an operator's gives it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from asgi_bridge import LoopThread


@contextmanager
def tls_front(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Passes on to a port of this machine what comes over TLS.

    Args:
        port: of the plain server.
        context: of the front's own side.

    Yields:
        the front's own port.
    """
    loop = LoopThread()
    tasks: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
        finally:
            tasks.discard(task)

    async def start() -> asyncio.Server:
        return await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)

    async def stop() -> None:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    server = loop.run(start())
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.run(stop())
        loop.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # either side may go at any time; the other is told by the close
        while content := await reader.read(1 << 16):
            writer.write(content)
            await writer.drain()
    writer.close()
