"""The HTTP door on a real socket of the loopback, in a thread of its own, over whatever service a test has."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Self

import uvicorn
from asgi_bridge import LoopThread
from vlp_server.config import ServerConfig
from vlp_server.http.app import create_app
from vlp_server.http.protocol import bounded_protocol
from vlp_server.http.server import bind, url_of


class ListeningDoor:
    """Listens inside `with`.

    Args:
        service: started and closed by the caller.
        drain_timeout_s: how long `stop` lets running requests go on.
    """

    def __init__(self, service: Any, *, drain_timeout_s: float = 10.0) -> None:
        config = ServerConfig()
        app = create_app(service, config)
        self.loop = LoopThread()
        self.door = app.state.door
        self._listener = bind("127.0.0.1", 0)
        self.url = url_of(*self._listener.getsockname()[:2])
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=bounded_protocol(config.http),
                ws="none",
                lifespan="off",
                log_config=None,
                timeout_graceful_shutdown=drain_timeout_s,  # type: ignore[arg-type] - passed on to asyncio.wait_for
            )
        )
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]

    def __enter__(self) -> Self:
        async def start() -> asyncio.Task[None]:
            serving = asyncio.create_task(self._server.serve([self._listener]))
            while not self._server.started:
                await asyncio.sleep(0.001)
            return serving

        self._serving = self.loop.run(start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._listener.close()
        self.loop.close()

    def stop(self) -> None:
        """As on SIGTERM; returns when the requests have ended."""
        self._server.should_exit = True

        async def ended() -> None:
            await self._serving
            while self.door.room.inside:
                await asyncio.sleep(0.001)

        self.loop.run(ended())
