"""The engine inside Triton: graphs are other models of the same server, asked by business logic scripting (BLS).

The states of a text that is being written stay in this process: a decoder runs here, with onnxruntime. Graphs may be
unloaded, loaded anew, or break, while this engine lives: one that answers that it is not there makes all unproved, and
nothing is asked of them but their canaries until these have come back right.

Source: triton-inference-server/python_backend, README, "Business Logic Scripting".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vlp_pipeline.generative import DECODER_ROLE
from vlp_spec.deployment import GraphRef
from vlp_spec.errors import (
    CapacityError,
    DeadlineError,
    InternalError,
    UnavailableError,
    VlpError,
)

from vlp_server.engines.base import CallTerms, Feeds, HostedModel, LoadedGraph, Outputs, Runner
from vlp_server.engines.settings import EngineSettings
from vlp_server.engines.triton_shapes import with_sizes, without_sizes
from vlp_server.engines.triton_words import (
    AWAY_RETRY_S,
    failed_on_item,
    is_dead,
    is_not_there,
    is_queue_timeout,
    said_by_model,
)

logger = logging.getLogger(__name__)
LOOK_S = 0.25
# Proving costs the graphs that are there; so one that stays away is looked for less and less often.
LONGEST_LOOK_S = 2.0
_RUN_TIMEOUT_S = 60.0
_US = 1_000_000


class BlsEngine:
    """See RemoteEngine.

    Args:
        backend: the module triton_python_backend_utils, which is there in a process of Triton's only.
        wanted: set by the first request. Nothing is asked of other models before: the backend has no threads for it
            until `initialize` is over, and takes the whole server down (a segmentation fault in every fifth start).
    """

    def __init__(self, settings: EngineSettings, backend: Any, wanted: asyncio.Event) -> None:
        self._settings = settings
        self._backend = backend
        self._wanted = wanted
        self._graphs: dict[str, GraphRef] = {}
        self._local: Any = None
        self._pool = ThreadPoolExecutor(settings.triton_connections, thread_name_prefix="bls")
        self._reason: str | None = "waiting for the graphs"
        self._watching: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lost = asyncio.Event()
        self._prove: Callable[[Runner], None] | None = None
        self._closed = False
        self._disproved = False
        self._found_wrong: list[str] = []

    def load(self, graph: LoadedGraph) -> None:
        """See RemoteEngine; a decoder is loaded here."""
        if graph.ref.role != DECODER_ROLE:
            self._graphs[graph.key] = graph.ref
            return
        if self._local is None:
            from vlp_server.engines.onnx import OnnxEngine

            self._local = OnnxEngine(replace(self._settings, engine="onnx"))
        self._local.load(graph)

    def run(self, key: str, feeds: Feeds) -> Outputs:
        """See Engine."""
        if self._local is not None and self._local.ready(key):
            outputs: Outputs = self._local.run(key, feeds)
            return outputs
        return self._ask(key, feeds, CallTerms(timeout_s=_RUN_TIMEOUT_S))

    def unload(self, key: str) -> None:
        """See Engine."""
        self._graphs.pop(key, None)
        if self._local is not None:
            self._local.unload(key)

    def ready(self, key: str) -> bool:
        """See Engine."""
        return self._reason is None and (key in self._graphs or (self._local is not None and self._local.ready(key)))

    def close(self) -> None:
        """See Engine. Belongs to the event loop."""
        self._closed = True
        self._reason = "closed"
        if self._watching is not None:
            self._watching.cancel()
        if self._local is not None:
            self._local.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def attach(
        self, loop: asyncio.AbstractEventLoop, prove: Callable[[Runner], None], task_models: Sequence[HostedModel] = ()
    ) -> None:
        """See RemoteEngine. Proving begins once something is wanted, and again whenever a graph has gone."""
        self._loop, self._prove = loop, prove

        def begin() -> None:
            if not self._closed:
                self._watching = asyncio.create_task(self._watch(prove))

        loop.call_soon_threadsafe(begin)

    def why_not_ready(self) -> str | None:
        """See RemoteEngine."""
        return self._reason

    def disproved(self) -> bool:
        """See RemoteEngine."""
        return self._disproved

    def places(self) -> dict[str, bool]:
        """See RemoteEngine. There is one, which has no address."""
        return {}

    async def check(self) -> None:
        """See RemoteEngine."""
        if self._prove is None or self._reason is not None:
            return
        try:
            await asyncio.to_thread(self._prove, self)
        except CapacityError:
            return
        except VlpError as error:
            self._found_wrong.append(error.message)
            self._reason, self._disproved = error.message, True
            self._lost.set()

    def found_wrong(self) -> list[str]:
        """See RemoteEngine."""
        found, self._found_wrong = self._found_wrong, []
        return found

    async def infer(self, key: str, feeds: Feeds, terms: CallTerms) -> Outputs:
        """See RemoteEngine."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._ask, key, feeds, terms)

    async def _watch(self, prove: Callable[[Runner], None]) -> None:
        await self._wanted.wait()
        while True:
            await self._until_proved(prove)
            await self._lost.wait()
            await asyncio.sleep(LOOK_S)

    async def _until_proved(self, prove: Callable[[Runner], None]) -> None:
        pause = LOOK_S
        while True:
            self._lost.clear()
            try:
                await asyncio.to_thread(prove, self)
            except VlpError as error:
                self._reason, self._disproved = error.message, not isinstance(error, CapacityError)
            except Exception as error:
                self._reason = "waiting for the graphs"
                logger.info("not proved yet: %r", error)
            else:
                if not self._lost.is_set():
                    self._reason, self._disproved = None, False
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK_S)

    def _lose(self, reason: str) -> None:
        """Ask the graphs nothing but their canaries, until they are proved again."""
        if self._closed:
            return
        if self._reason is None:
            logger.warning("the graphs are not asked any more: %s", reason)
        self._reason = reason
        self._lost.set()

    def _ask(self, key: str, feeds: Feeds, terms: CallTerms) -> Outputs:
        graph = self._graphs.get(key)
        if graph is None:
            raise InternalError(detail=f"BLS engine: no graph {key!r} is loaded")
        names = [spec.name for spec in graph.outputs]
        backend = self._backend
        request = backend.InferenceRequest(
            model_name=graph.name,
            model_version=graph.version,
            requested_output_names=names,
            inputs=[backend.Tensor(name, np.ascontiguousarray(with_sizes(array))) for name, array in feeds.items()],
            # Its lane stays behind: the backend's InferenceRequest takes a timeout, and no priority (2.51).
            timeout=max(1, int(terms.timeout_s * _US)),
            preferred_memory=backend.PreferredMemory(backend.TRITONSERVER_MEMORY_CPU, 0),
        )
        try:
            response = request.exec()
            message = response.error().message() if response.has_error() else None
        except Exception as error:  # the backend has no class of its own for it
            message = str(error)
            fault: VlpError = _away(f"graph {graph.name} cannot be asked now", repr(error))
        else:
            if message is None:
                return {spec.name: without_sizes(_array(backend, response, spec.name), spec) for spec in graph.outputs}
            fault = _meaning(message, graph)
        if isinstance(fault, UnavailableError) and _is_gone(message):
            self._report_loss(fault.message)
        raise fault

    def _report_loss(self, reason: str) -> None:
        """As `_lose`, from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._lose, reason)


def _array(backend: Any, response: Any, name: str) -> NDArray[Any]:
    """Copied: what belongs to the response lies in memory that the server shares and wants back."""
    return np.array(backend.get_output_tensor_by_name(response, name).as_numpy())


def _meaning(message: str, graph: GraphRef) -> VlpError:
    if known := said_by_model(message, message):
        return known
    if is_queue_timeout(message):
        return DeadlineError("the deadline passed while the request waited for the model", detail=message)
    if _is_gone(message):
        return _away(f"graph {graph.name} version {graph.version} is not loaded, or broken", message)
    return failed_on_item(message)


def _is_gone(message: str) -> bool:
    """Whether a graph is not there, or its process has died, which is as good as gone until it is loaded anew."""
    return is_not_there(message) or is_dead(message)


def _away(message: str, detail: str) -> UnavailableError:
    return UnavailableError(message, retry_after_s=AWAY_RETRY_S, detail=detail)
