"""A gRPC server with the Open Inference Protocol over a service, in a thread of its own: clients are real ones."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import grpc
from vlp_server.config.settings import LimitsConfig
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings
from vlp_server.oip.gate import FreePass, Passed
from vlp_server.oip.grpc_service import add_inference_service
from vlp_server.oip.inference import OpenInference

_LIMIT_S = 60.0


class OpenGate:
    """Lets everybody in: of a server that bounds nothing."""

    closing = False
    message_timeout_s: float | None = None

    @contextmanager
    def let_in(self, name: str, context: Any) -> Iterator[Passed]:
        """Let it in."""
        yield FreePass()


class OipServer:
    """Serves in `with`.

    Args:
        settings: of the service behind it.
        max_message_bytes: of one request.
    """

    def __init__(self, settings: CoreSettings, max_message_bytes: int = 8 * 1024 * 1024) -> None:
        self._settings = settings
        self._options = [("grpc.max_receive_message_length", max_message_bytes), ("grpc.so_reuseport", 0)]
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="oip", daemon=True)
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(_LIMIT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self.loop).result(_LIMIT_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_LIMIT_S)
        self.loop.close()

    async def _start(self) -> None:
        self.service = Service(self._settings)
        await self.service.start()
        assert (await self.service.wait_ready(_LIMIT_S)).ready
        self.inference = OpenInference(self.service, LimitsConfig(), version="0", max_timeout_s=60.0)
        self._server = grpc.aio.server(options=self._options)
        add_inference_service(self._server, self.inference, OpenGate())
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

    async def _stop(self) -> None:
        await self._server.stop(None)
        await self.service.drain(1.0)
        await self.service.close()
