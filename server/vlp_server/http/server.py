"""Runs the HTTP door in this process: bind, start, tell when ready, and drain on SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from vlp_spec.errors import ConfigError, StartupError

from vlp_server.config.server import ServerConfig
from vlp_server.core.records import ModelState
from vlp_server.http.app import create_app
from vlp_server.http.door import Door
from vlp_server.http.open_files import make_room_for
from vlp_server.http.protocol import bounded_protocol
from vlp_server.intake.beside import DoorBeside
from vlp_server.intake.shared import Shared
from vlp_server.oip.inference import OpenInference

if TYPE_CHECKING:
    from vlp_server.core.service import Service

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_FORCED_EXIT_S = 1.0
_BACKLOG = 1024
_RECOVERY_LOOK_S = 1.0

Announce = Callable[[str], None]
MakeBeside = Callable[[Shared, OpenInference], DoorBeside]


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handling, which would end the process by the signal and not with exit code 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are handled by `HttpServer`."""
        yield


class HttpServer:
    """One server process: a service behind its HTTP door.

    Args:
        service: not started yet; closed at the end.
        config: the whole configuration.
        announce: gets the server's address once it is ready.
        make_beside: makes the door that is served beside it, from what the two share.
    """

    def __init__(
        self, service: Service, config: ServerConfig, announce: Announce, make_beside: MakeBeside | None = None
    ) -> None:
        self._service = service
        self._config = config
        self._announce = announce
        self._make_beside = make_beside
        self._beside: DoorBeside | None = None
        self._stopping: asyncio.Task[None] | None = None

    def run(self) -> None:
        """Serve until a signal; return after the drain.

        Raises:
            ConfigError: the address cannot be listened on.
            StartupError: no model can be served.
        """
        listener = bind(self._config.http.host, self._config.http.port)
        grpc = self._config.grpc
        make_room_for(self._config.http.max_connections, grpc.max_connections if grpc.enabled else 0)
        if not self._config.access.asks_for_keys:
            _warn_of_openness(listener.getsockname()[0])
        try:
            asyncio.run(self._serve(listener))
        finally:
            listener.close()

    async def _serve(self, listener: socket.socket) -> None:
        app = create_app(self._service, self._config)
        door: Door = app.state.door
        server = _Uvicorn(self._uvicorn_config(app, door))
        door.metrics.connections.set_function(lambda: len(server.server_state.connections))
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._stop, number, server, door)
        await self._service.start()
        try:
            if self._make_beside is not None:
                shared = Shared(door.room, door.limits, app.state.key_ring, door.access_log)
                beside = self._make_beside(shared, door.oip)
                await beside.start()
                self._beside = beside
            await self._answer(server, listener)
        finally:
            await self._end()
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    async def _answer(self, server: _Uvicorn, listener: socket.socket) -> None:
        """Answer until a signal came, and what was inside then has ended."""
        # Listening starts while the models load: /livez and /readyz answer, and /v1 says that it is not ready.
        serving = asyncio.ensure_future(server.serve([listener]))
        ready = asyncio.ensure_future(self._tell_when_ready(listener.getsockname()[:2], server))
        try:
            await asyncio.wait((serving, ready), return_when=asyncio.FIRST_COMPLETED)
            if ready.done() and ready.exception() is not None:
                server.should_exit = True
            await serving
            if self._stopping is not None:
                await self._stopping
            if ready.done():
                ready.result()
        finally:
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)

    def _uvicorn_config(self, app: object, door: Door) -> uvicorn.Config:
        http = self._config.http
        return uvicorn.Config(
            app,  # type: ignore[arg-type]
            loop="asyncio",
            http=bounded_protocol(http, door.note_refused),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=max(1, round(http.keep_alive_s)),
            timeout_graceful_shutdown=max(1, round(http.drain_timeout_s)),
        )

    async def _tell_when_ready(self, address: tuple[str, int], server: _Uvicorn) -> None:
        """Wait until every model is ready; write the ready file and announce the address, unless a signal came first.

        A model that fails among sound ones ends nothing: /readyz says no and names it, and the others answer.

        Raises:
            StartupError: no model can be served.
        """
        told = False
        while not (readiness := await self._service.wait_ready(timeout_s=3600.0)).ready:
            cards = self._service.models()
            failed = [f"{card.name}: {card.reason}" for card in cards if card.state == ModelState.FAILED]
            # Only one that was never loaded stays so: graphs elsewhere that answer wrongly may be put right there.
            if all(card.state == ModelState.FAILED and card.version is None for card in cards):
                raise StartupError("these models cannot be served:\n" + "\n".join(failed))
            if not failed and all(card.state != ModelState.LOADING for card in cards):
                raise StartupError(f"not ready: {readiness.reason}")
            if failed and not told:
                told = True
                logger.error("not ready, the other models answer at %s: %s", url_of(*address), "; ".join(failed))
            await asyncio.sleep(_RECOVERY_LOOK_S)
        if server.should_exit:
            return
        if self._config.ready_file is not None:
            write_ready_file(self._config.ready_file, *address, self._beside)
        self._announce(url_of(*address))

    def _stop(self, number: int, server: _Uvicorn, door: Door) -> None:
        """First signal: not ready, no new connections, let running requests finish. Second one: at once."""
        if server.should_exit:
            logger.warning("signal %d again: not waiting for running requests", number)
            server.force_exit = True
            self._stop_beside(0.0)
            return
        logger.info("signal %d: draining", number)
        door.room.closing = True
        server.should_exit = True
        self._stop_beside(self._config.http.drain_timeout_s)

    def _stop_beside(self, grace_s: float) -> None:
        if self._beside is not None:
            self._stopping = asyncio.ensure_future(self._beside.stop(grace_s))

    async def _end(self) -> None:
        """By now all connections are closed; what is left in the core was abandoned."""
        if self._config.ready_file is not None:
            self._config.ready_file.unlink(missing_ok=True)
        if self._beside is not None:
            await self._beside.stop(0.0)
        started = time.monotonic()
        if not await self._service.drain(_FORCED_EXIT_S):
            logger.warning("some requests did not finish in time")
        await self._service.close()
        logger.info("stopped after %.1f s", time.monotonic() - started)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket at the address; port 0 takes a free one. Connections wait until the server accepts them.

    Raises:
        ConfigError: the address is taken or not this machine's.
    """
    listener: socket.socket | None = None
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # The protocol is named, or asyncio would not know that it is TCP, and small answers would wait for an
        # acknowledgement (40 ms) on connections that stay open.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # At once: until somebody listens, SO_REUSEADDR would let a second server have the same port.
        listener.listen(_BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ConfigError([f"http.host, http.port: cannot listen on {host} port {port} ({error.strerror})"]) from error
    listener.setblocking(False)
    return listener


def _warn_of_openness(host: str) -> None:
    if not ipaddress.ip_address(host).is_loopback:
        logger.warning("whoever reaches %s may ask this server, because no API keys are set; see docs/access.md", host)


def url_of(host: str, port: int) -> str:
    """The URL of an address that is listened on."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def write_ready_file(path: Path, host: str, port: int, beside: DoorBeside | None = None) -> None:
    """Write the addresses and process id, whole or not at all.

    Raises:
        ConfigError: it cannot be written.
    """
    facts: dict[str, str | int] = {"http_host": host, "http_port": port, "pid": os.getpid()}
    if beside is not None:
        facts |= {"grpc_host": beside.host, "grpc_port": beside.port}
    text = json.dumps(facts)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError([f"ready_file: cannot write {path} ({error.strerror})"]) from error
