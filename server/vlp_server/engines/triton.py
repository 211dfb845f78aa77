"""The triton engine: graphs that NVIDIA's Triton server hosts, on one machine or several, asked over gRPC.

A server is asked only after the model's canaries came back right from it, and again when it has been away. Of several
the one with the fewest calls under way is asked. A graph computes and changes nothing, so a call that a server lost is
sent to another one within the same deadline; nothing else is tried twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from vlp_spec.deployment import GraphRef
from vlp_spec.errors import CapacityError, InternalError, VlpError
from vlp_spec.tasks import Task

from vlp_server.engines.base import CallTerms, Feeds, HostedModel, LoadedGraph, Outputs, Runner, TaskCall
from vlp_server.engines.settings import EngineSettings
from vlp_server.engines.triton_models import load_version, unload_version
from vlp_server.engines.triton_server import AwayError, TritonServer, nobody
from vlp_server.engines.triton_task_calls import ask_at, stream_at

logger = logging.getLogger(__name__)
T = TypeVar("T")
LOOK_S = 1.0
# A server whose canaries were off is unlikely to be better at once, and proving takes its time.
UNPROVED_LOOK_S = 5.0
_RUN_TIMEOUT_S = 60.0


class TritonEngine:
    """See RemoteEngine and TaskServer."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._graphs: dict[str, GraphRef] = {}
        self._task_models: tuple[HostedModel, ...] = ()
        self._servers: list[TritonServer] = []
        self._watching: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        # Of its own: a server that hangs keeps a thread for as long as a canary may take.
        self._provers = ThreadPoolExecutor(max(1, len(settings.triton_urls)), thread_name_prefix="prove")

    def load(self, graph: LoadedGraph) -> None:
        """See RemoteEngine."""
        self._graphs[graph.key] = graph.ref

    def run(self, key: str, feeds: Feeds) -> Outputs:
        """See Engine."""
        return self._blocking(self.infer(key, feeds, CallTerms(timeout_s=_RUN_TIMEOUT_S)))

    def unload(self, key: str) -> None:
        """See Engine; not from the event loop.

        Where models are managed the servers unload it, too, and with the last graph the tasks.
        """
        graph = self._graphs.pop(key, None)
        loop = self._loop
        if graph is None or not self._settings.triton_manage or loop is None or not loop.is_running():
            return
        gone = [HostedModel(graph.name, graph.version), *([] if self._graphs else self._task_models)]

        async def unload_everywhere() -> None:
            for model in gone:
                await asyncio.gather(
                    *(unload_version(server.client, model.name, model.version) for server in self._servers)
                )

        asyncio.run_coroutine_threadsafe(unload_everywhere(), loop).result(_RUN_TIMEOUT_S)

    def ready(self, key: str) -> bool:
        """See Engine."""
        return key in self._graphs and self.why_not_ready() is None

    def close(self) -> None:
        """See Engine."""
        if self._closed:
            return
        self._closed = True
        self._provers.shutdown(wait=False, cancel_futures=True)
        if self._loop is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(self._stop)

    def attach(
        self, loop: asyncio.AbstractEventLoop, prove: Callable[[Runner], None], task_models: Sequence[HostedModel] = ()
    ) -> None:
        """See RemoteEngine."""
        self._loop = loop
        self._task_models = tuple(task_models)

        def begin() -> None:
            if self._closed:
                return
            self._servers = [TritonServer(url, self._settings.triton_ca_file) for url in self._settings.triton_urls]
            self._watching = [asyncio.create_task(self._watch(server, prove)) for server in self._servers]

        loop.call_soon_threadsafe(begin)

    def why_not_ready(self) -> str | None:
        """See RemoteEngine."""
        if any(server.up for server in self._servers):
            return None
        return "; ".join(server.reason for server in self._servers) or "waiting for Triton"

    def disproved(self) -> bool:
        """See RemoteEngine."""
        return bool(self._servers) and all(server.disproved for server in self._servers)

    async def infer(self, key: str, feeds: Feeds, terms: CallTerms) -> Outputs:
        """See RemoteEngine."""
        graph = self._graphs.get(key)
        if graph is None:
            raise InternalError(detail=f"triton engine: no graph {key!r} is loaded")
        return await self._anywhere(lambda server, rest: server.infer(graph, feeds, rest), terms)

    async def ask(self, call: TaskCall, terms: CallTerms) -> list[bytes]:
        """See TaskServer. A caption comes from a model that streams, and is asked for whole."""
        if call.task is Task.CAPTION:
            async with contextlib.aclosing(self.stream(call, terms)) as news:
                async for one in news:
                    if isinstance(one, bytes):
                        return [one]
            raise InternalError(detail="a caption without its end")

        return await self._anywhere(lambda server, rest: ask_at(server, call, rest.timeout_s), terms)

    async def stream(self, call: TaskCall, terms: CallTerms) -> AsyncGenerator[bytes | str]:
        """See TaskServer. A server that goes away before it has said anything is replaced by another."""
        loop = asyncio.get_running_loop()
        end = loop.time() + terms.timeout_s
        for server in self._by_load():
            said_something = False
            server.last = loop.time()
            try:
                async for one in stream_at(server, call, end - loop.time()):
                    said_something = True
                    yield one
                return
            except AwayError as error:
                server.down(str(error))
                if said_something:
                    break
        raise nobody([server.reason for server in self._servers])

    async def _anywhere(self, call: Callable[[TritonServer, CallTerms], Awaitable[T]], terms: CallTerms) -> T:
        """The answer of the first server that gives one, the least busy asked first; all within one deadline."""
        loop = asyncio.get_running_loop()
        end = loop.time() + terms.timeout_s
        for server in self._by_load():
            server.last = loop.time()
            rest = CallTerms(timeout_s=max(0.001, end - loop.time()), lane=terms.lane)
            try:
                return await call(server, rest)
            except AwayError as error:
                server.down(str(error))
        raise nobody([server.reason for server in self._servers])

    def _by_load(self) -> list[TritonServer]:
        """Servers that may be asked: the fewest calls under way first, of equals the one that was asked longest ago."""
        return sorted(
            (server for server in self._servers if server.up), key=lambda server: (server.in_flight, server.last)
        )

    async def _watch(self, server: TritonServer, prove: Callable[[Runner], None]) -> None:
        """Look after one server, as long as this engine lives."""
        loop = asyncio.get_running_loop()
        while True:
            pause = LOOK_S
            try:
                if server.up:
                    if not await server.is_alive():
                        server.down(f"Triton at {server.url} does not answer")
                elif await self._has_models(server):
                    await loop.run_in_executor(self._provers, prove, _AtServer(self, server))
                    server.up, server.reason, server.disproved = True, "", False
                    logger.info("Triton at %s answers for %s", server.url, ", ".join(self._graphs))
            except Exception as error:
                if not isinstance(error, (AwayError, CapacityError)):
                    pause, server.disproved = UNPROVED_LOOK_S, True
                server.reason = f"Triton at {server.url}: {error.message if isinstance(error, VlpError) else error!r}"
                logger.warning("%s", server.reason)
            await asyncio.sleep(pause)

    async def _has_models(self, server: TritonServer) -> bool:
        """Whether a server has all graphs; where models are managed it is told to load those that it has not."""
        if not await server.is_alive():
            server.reason, server.disproved = f"waiting for Triton at {server.url}", False
            return False
        graphs = [HostedModel(graph.name, graph.version) for graph in self._graphs.values()]
        for model in (*graphs, *self._task_models):
            if await server.has(model.name, model.version):
                continue
            if self._settings.triton_manage:
                await load_version(server.client, model.name, model.version)
                continue
            server.reason = f"Triton at {server.url} has not loaded {model.name} version {model.version}"
            server.disproved = False
            return False
        return True

    def _blocking(self, work: Any) -> Outputs:
        if self._loop is None or self._closed:
            work.close()
            raise InternalError(detail="triton engine: not attached, or closed")
        outputs: Outputs = asyncio.run_coroutine_threadsafe(work, self._loop).result(_RUN_TIMEOUT_S)
        return outputs

    def _stop(self) -> None:
        for task in self._watching:
            task.cancel()
        for server in self._servers:
            server.up, server.reason = False, "closed"
        self._closing = [asyncio.ensure_future(_closed(server.client)) for server in self._servers]


async def _closed(client: Any) -> None:
    """The end of the process may come first."""
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await client.close()


class _AtServer:
    """One server as a Runner, for its proof."""

    def __init__(self, engine: TritonEngine, server: TritonServer) -> None:
        self._engine = engine
        self._server = server

    def run(self, key: str, feeds: Feeds) -> Outputs:
        """See Runner."""
        graph = self._engine._graphs[key]
        try:
            return self._engine._blocking(self._server.infer(graph, feeds, CallTerms(timeout_s=_RUN_TIMEOUT_S)))
        except AwayError as error:
            raise nobody([str(error)]) from error
