"""The triton engine: graphs that NVIDIA's Triton server hosts, on one machine or several, asked over gRPC.

A server is asked only after the model's canaries came back right from it, and again when it has been away. Of several
the one with the fewest calls under way is asked. A graph computes and changes nothing, so a call that a server lost is
sent to another one within the same deadline; nothing else is tried twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from vlp_spec.deployment import GraphRef
from vlp_spec.errors import ArtifactError, CapacityError, ConfigError, InternalError, VlpError
from vlp_spec.tasks import Lane, Task

from vlp_server.engines.base import CallTerms, Feeds, HostedModel, LoadedGraph, Outputs, Runner, TaskCall
from vlp_server.engines.byte_room import ByteRoom
from vlp_server.engines.settings import EngineSettings
from vlp_server.engines.triton_models import UNLOAD_LIMIT_S, TritonModels, bring, unload_everywhere
from vlp_server.engines.triton_server import AwayError, LateError, TritonServer, nobody
from vlp_server.engines.triton_task_calls import ask_at, name_of, stream_at
from vlp_server.engines.triton_tries import Tries

logger = logging.getLogger(__name__)
T = TypeVar("T")
LOOK_S = 1.0
# A server whose canaries were off is unlikely to be better at once, and proving takes its time.
UNPROVED_LOOK_S = 5.0
_RUN_TIMEOUT_S, _GRACE_S = 60.0, 5.0
# Graphs that say nothing for so long while they are asked have to show that they can; a slow one can.
SILENT_GRAPHS_S, _SHOW_TIMEOUT_S = 10.0, 20.0
# Of tasks there is no canary; this is more than any patience that a caller has by default.
SILENT_TASKS_S = 60.0
_TASK_BYTES = 64 * 1024 * 1024


class TritonEngine:
    """See RemoteEngine and TaskServer.

    Raises:
        ConfigError: the certificate authority's file is not there.
    """

    def __init__(self, settings: EngineSettings) -> None:
        if settings.triton_ca_file is not None and not settings.triton_ca_file.is_file():
            raise ConfigError([f"triton_ca_file: {settings.triton_ca_file} is no file"])
        self._settings = settings
        self._graphs: dict[str, GraphRef] = {}
        self._task_models: tuple[HostedModel, ...] = ()
        self._servers: list[TritonServer] = []
        self._watching: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._prove: Callable[[Runner], None] | None = None
        # Pictures of tasks travel as they were sent, and are copied on the way.
        self._task_room = ByteRoom(settings.triton_connections, _TASK_BYTES)
        self._bulk_tasks = asyncio.Semaphore(max(1, settings.triton_connections // 2))
        self._found_wrong: list[str] = []
        # Of its own: a server that hangs keeps a thread for as long as a canary may take.
        self._provers = ThreadPoolExecutor(max(1, len(settings.triton_urls)), thread_name_prefix="prove")

    def load(self, graph: LoadedGraph) -> None:
        """See RemoteEngine."""
        self._graphs[graph.key] = graph.ref

    def run(self, key: str, feeds: Feeds) -> Outputs:
        """See Engine."""
        return self._blocking(self.infer(key, feeds, CallTerms(timeout_s=_RUN_TIMEOUT_S)), _RUN_TIMEOUT_S)

    def unload(self, key: str) -> None:
        """See Engine; not from the event loop.

        Where models are managed the servers unload it, too, and with the last graph the tasks.

        Raises:
            ArtifactError: a server that is there could not; here it is forgotten all the same.
        """
        graph = self._graphs.pop(key, None)
        loop = self._loop
        if graph is None or not self._settings.triton_manage or loop is None or not loop.is_running():
            return
        gone = [HostedModel(graph.name, graph.version), *([] if self._graphs else self._task_models)]
        servers = [self._models_at(server) for server in self._servers]
        asyncio.run_coroutine_threadsafe(unload_everywhere(servers, gone), loop).result(UNLOAD_LIMIT_S)

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
            self._prove = prove
            self._servers = [TritonServer(url, self._settings.triton_ca_file) for url in self._settings.triton_urls]
            self._watching = [asyncio.create_task(self._watch(server)) for server in self._servers]

        loop.call_soon_threadsafe(begin)

    def why_not_ready(self) -> str | None:
        """See RemoteEngine."""
        if any(server.up for server in self._servers):
            return None
        return "; ".join(dict.fromkeys(server.reason for server in self._servers)) or "waiting for Triton"

    def disproved(self) -> bool:
        """See RemoteEngine."""
        return bool(self._servers) and all(server.disproved for server in self._servers)

    def places(self) -> dict[str, bool]:
        """See RemoteEngine."""
        return {server.url: server.up for server in self._servers}

    async def check(self) -> None:
        """See RemoteEngine."""
        await asyncio.gather(*(self._check_at(server) for server in self._servers if server.up))

    def found_wrong(self) -> list[str]:
        """See RemoteEngine."""
        found, self._found_wrong = self._found_wrong, []
        return found

    async def infer(self, key: str, feeds: Feeds, terms: CallTerms) -> Outputs:
        """See RemoteEngine."""
        graph = self._graphs.get(key)
        if graph is None:
            raise InternalError(detail=f"triton engine: no graph {key!r} is loaded")
        return await self._anywhere(graph.name, lambda server, rest: server.infer(graph, feeds, rest), terms)

    async def ask(self, call: TaskCall, terms: CallTerms) -> list[bytes]:
        """See TaskServer. A caption comes from a model that streams, and is asked for whole."""
        if call.task is Task.CAPTION:
            async with contextlib.aclosing(self.stream(call, terms)) as news:
                async for one in news:
                    if isinstance(one, bytes):
                        return [one]
            raise InternalError(detail="a caption without its end")

        end = _now() + terms.timeout_s
        async with self._room_for(call, terms):
            rest = _rest(terms, end)
            return await self._anywhere(name_of(call), lambda server, terms: ask_at(server, call, terms), rest)

    async def stream(self, call: TaskCall, terms: CallTerms) -> AsyncGenerator[bytes | str]:
        """See TaskServer. A server that goes away before it has said anything is replaced by another."""
        end = _now() + terms.timeout_s
        async with self._room_for(call, terms):
            tries = self._tries(name_of(call))
            for server in tries:
                with tries.at(server), self._not_closed():
                    async with contextlib.aclosing(stream_at(server, call, _rest(terms, end))) as news:
                        async for one in news:
                            tries.give_up()  # what was said cannot be said again by another one
                            yield one
                    return
            raise tries.outcome()

    async def _anywhere(
        self, model: str, call: Callable[[TritonServer, CallTerms], Awaitable[T]], terms: CallTerms
    ) -> T:
        """The answer of the first server that gives one, the least busy asked first; all within one deadline."""
        end = _now() + terms.timeout_s
        tries = self._tries(model)
        for server in tries:
            with tries.at(server), self._not_closed():
                return await call(server, _rest(terms, end))
        raise tries.outcome()

    def _tries(self, model: str) -> Tries:
        """Where a model may be asked: first where it did not fail just now, then the fewest calls under way.

        Of equals the one that was asked longest ago.
        """
        up = [server for server in self._servers if server.up]
        up.sort(key=lambda server: (server.is_troubled(model), server.in_flight, server.last))
        return Tries(up, model, self._servers, _now)

    @contextlib.contextmanager
    def _not_closed(self) -> Iterator[None]:
        """Who closes the engine ends its calls, as if their callers had left; they have not."""
        try:
            yield
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and (task is None or not task.cancelling()):
                raise nobody(["closed"]) from None
            raise

    @contextlib.asynccontextmanager
    async def _room_for(self, call: TaskCall, terms: CallTerms) -> AsyncIterator[None]:
        """Room for a task; bulk work leaves half of it to who is in a hurry."""
        bulk = self._bulk_tasks if terms.lane is Lane.BULK else contextlib.nullcontext()
        async with bulk, self._task_room.take(sum(map(len, call.images))):
            yield

    async def _watch(self, server: TritonServer) -> None:
        """Look after one server, as long as this engine lives."""
        while True:
            try:
                await self._look(server)
            except Exception:
                logger.exception("looking after Triton at %s failed once", server.url)
            await asyncio.sleep(UNPROVED_LOOK_S if server.disproved else LOOK_S)

    async def _look(self, server: TritonServer) -> None:
        """Look at one server once, and note how it is."""
        try:
            if not await server.is_live():
                server.down("waiting for Triton")
            elif server.up:
                await self._look_at_one_that_is_up(server)
            else:
                await self._look_at_one_that_is_down(server)
            server.in_time()
        except LateError as error:
            if server.late_again() or not server.up:
                server.down("Triton does not answer", _told(error))
        except AwayError as error:
            server.down("waiting for Triton", _told(error))
        except CapacityError as error:
            server.down("Triton does not answer", _told(error))
        except ArtifactError as error:
            self._note_wrong(server, error)
        except Exception as error:
            server.down("Triton cannot be asked", repr(error))

    async def _look_at_one_that_is_up(self, server: TritonServer) -> None:
        """Whether it has gone silent, or has lost a model.

        Raises:
            AwayError: it is away, or does not say.
            VlpError: as `_show`.
        """
        if server.longest(server.tasks) > SILENT_TASKS_S:
            for silence in server.tasks.values():
                silence.heard()
            server.down("Triton does not answer", f"no answer of any task for {SILENT_TASKS_S:g} s")
            return
        if server.longest(server.graphs) > SILENT_GRAPHS_S:
            await self._show(server, _SHOW_TIMEOUT_S)
        if lost := await self._lacks(server):
            server.down(f"Triton has not loaded {lost.name} version {lost.version}")

    async def _look_at_one_that_is_down(self, server: TritonServer) -> None:
        """Let it prove itself; errors as of one that is up."""
        if server.is_resting or not await self._has_models(server):
            return
        await self._show(server, _RUN_TIMEOUT_S)
        if server.proved():
            logger.info("Triton at %s answers for %s", server.url, ", ".join(self._graphs))

    async def _check_at(self, server: TritonServer) -> None:
        """Run the canaries of a server that is up; without an answer there is no verdict."""
        try:
            await self._show(server, _RUN_TIMEOUT_S)
        except CapacityError:
            return
        except VlpError as error:
            self._note_wrong(server, error)

    def _note_wrong(self, server: TritonServer, error: VlpError) -> None:
        if not server.disproved:
            self._found_wrong.append(error.message)
        server.down(f"Triton: {error.message}", _told(error), disproved=True)

    async def _show(self, server: TritonServer, timeout_s: float) -> None:
        """Run the canaries at a server.

        Raises:
            ArtifactError: they are off.
            CapacityError: it does not answer.
        """
        assert self._prove is not None
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._provers, self._prove, _AtServer(self, server, timeout_s))

    async def _lacks(self, server: TritonServer) -> HostedModel | None:
        """A model that a server has to have, and cannot run; all are asked for at a time."""
        graphs = [HostedModel(graph.name, graph.version) for graph in self._graphs.values()]
        wanted = [*graphs, *(model for model in self._task_models if model.required)]
        there = await asyncio.gather(*(server.has(model.name, model.version) for model in wanted))
        return next((model for model, is_there in zip(wanted, there, strict=True) if not is_there), None)

    async def _has_models(self, server: TritonServer) -> bool:
        """Whether a server has all that is required; where models are managed it is told to load what it has not."""
        graphs = [HostedModel(graph.name, graph.version) for graph in self._graphs.values()]
        for model in (*graphs, *self._task_models):
            if not (model.required or self._settings.triton_manage) or await server.has(model.name, model.version):
                continue
            if self._settings.triton_manage:
                await bring(self._models_at(server), model, functools.partial(self._wants, model))
                continue
            server.down(f"Triton has not loaded {model.name} version {model.version}")
            return False
        return True

    def _wants(self, model: HostedModel) -> bool:
        """Whether a model has not been unloaded meanwhile."""
        graphs = [HostedModel(graph.name, graph.version) for graph in self._graphs.values()]
        return model in graphs or (bool(graphs) and model in self._task_models)

    def _models_at(self, server: TritonServer) -> TritonModels:
        return TritonModels(server.client, self._settings.triton_control_secret_file)

    def _blocking(self, work: Coroutine[Any, Any, Outputs], timeout_s: float) -> Outputs:
        """Await a call from a thread. It ends by itself in that time; a little later nobody is there to end it."""
        if self._loop is None or self._closed:
            work.close()
            raise InternalError(detail="triton engine: not attached, or closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s + _GRACE_S)
        except TimeoutError:
            future.cancel()
            raise nobody([f"no answer after {timeout_s:g} s"]) from None

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

    def __init__(self, engine: TritonEngine, server: TritonServer, timeout_s: float) -> None:
        self._engine = engine
        self._server = server
        self._timeout_s = timeout_s

    def run(self, key: str, feeds: Feeds) -> Outputs:
        """See Runner."""
        graph = self._engine._graphs[key]
        try:
            call = self._server.infer(graph, feeds, CallTerms(timeout_s=self._timeout_s))
            return self._engine._blocking(call, self._timeout_s)
        except AwayError as error:
            raise nobody([str(error)]) from error


def _now() -> float:
    return asyncio.get_running_loop().time()


def _rest(terms: CallTerms, end: float) -> CallTerms:
    """The same with the time that is left."""
    return replace(terms, timeout_s=max(0.001, end - _now()))


def _told(error: Exception) -> str:
    """All that is known of an error, for the log."""
    return f"{error.message} ({error.detail})" if isinstance(error, VlpError) and error.detail else str(error)
