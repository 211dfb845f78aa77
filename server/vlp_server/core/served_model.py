"""One served model: its life from loading to closing, its queues, and whether it can be trusted now."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vlp_pipeline.generative import DECODER_ROLE, DecoderShape
from vlp_spec.errors import InternalError, StartupError, UnavailableError, VlpError
from vlp_spec.tasks import Task

from vlp_server.core.batcher import Batcher
from vlp_server.core.buckets import buckets_of
from vlp_server.core.decoder_loop import DecoderLoop
from vlp_server.core.engine_thread import EngineThread
from vlp_server.core.in_flight import InFlight
from vlp_server.core.loading import LoadedModel
from vlp_server.core.metrics import Metrics, ModelObserver
from vlp_server.core.records import ModelCard, ModelState
from vlp_server.core.remote_queue import RemoteQueue
from vlp_server.core.running_texts import RunningTexts
from vlp_server.core.scheduler import BatchScheduler
from vlp_server.core.settings import AdmissionSettings, ModelSettings, WatchdogSettings
from vlp_server.core.thread_team import ThreadTeam
from vlp_server.core.usable_model import UsableModel
from vlp_server.core.waiting_texts import WaitingTexts
from vlp_server.core.work_queue import ItemQueue, WorkQueue
from vlp_server.engines.base import RemoteEngine

logger = logging.getLogger(__name__)
READY = "ready"
# Beside the texts that are being written, so many requests may hold what was seen in their pictures.
_READY_STATES = 8
_LOADING_RETRY_S = 2.0
_FAILED_RETRY_S = 30.0


class ServedModel:
    """A model of the service. All methods belong to the event loop, and return at once unless they are async.

    Args:
        load: blocking; gives the model or raises.
        forget_answers: drops what is kept of a model's answers, given its digest; says how many there were.
    """

    def __init__(
        self,
        settings: ModelSettings,
        load: Callable[[ModelSettings], LoadedModel],
        *,
        admission: AdmissionSettings,
        watchdog: WatchdogSettings,
        metrics: Metrics,
        forget_answers: Callable[[str], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._load = load
        self._admission = admission
        self._watchdog = watchdog
        self._metrics = metrics
        self._forget_answers = forget_answers
        self._clock = clock
        self._fault: str | None = None
        self._loaded: LoadedModel | None = None
        self._batchers: dict[str, ItemQueue] = {}
        self._decoder: DecoderLoop | None = None
        self._room = asyncio.Semaphore(settings.batch.max_texts + _READY_STATES)
        self._observers: list[ModelObserver] = []
        self._in_flight = InFlight()

    @property
    def label(self) -> str:
        """name@version, or the reference as configured while the version is not known."""
        return self._loaded.label if self._loaded else self.settings.reference

    @property
    def loaded(self) -> LoadedModel | None:
        """The model, once it was loaded; it may be failed all the same."""
        return self._loaded

    @property
    def state(self) -> ModelState:
        """Loading, ready or failed. A stalled model counts as failed until its batch comes back.

        One whose graphs lie elsewhere is loading while nobody there answers.
        """
        if self._fault is not None or self.stalled() or self._disproved():
            return ModelState.FAILED
        return ModelState.READY if self._batchers and self._away() is None else ModelState.LOADING

    @property
    def reason(self) -> str:
        """Why it is not ready, safe to show, or the word READY."""
        if self._fault is not None:
            return self._fault
        if self.stalled():
            return f"stalled: a batch has been running for more than {self._watchdog.stall_after_s:g} s"
        return (self._away() or READY) if self._batchers else "loading"

    def is_called(self, name: str) -> bool:
        """Whether it was configured under this name, of whatever version."""
        return self.settings.reference.partition("@")[0] == name

    def may_do(self, task: Task) -> bool:
        """Whether it does this task, or may turn out to: the tasks of a model are not known before it is loaded."""
        return self._loaded is None or task in self._loaded.deployment.tasks

    def card(self, *, default: bool, default_for: tuple[Task, ...] = ()) -> ModelCard:
        """What a caller may know of it."""
        deployment = self._loaded.deployment if self._loaded else None
        name = deployment.name if deployment else self.settings.reference.partition("@")[0]
        return ModelCard(
            name=name,
            version=deployment.version if deployment else None,
            tasks=deployment.tasks if deployment else (),
            precision=deployment.precision if deployment else None,
            family=deployment.family if deployment else None,
            limits={axis: limit.max for axis, limit in deployment.axes.items()} if deployment else {},
            state=self.state,
            reason=self.reason,
            default=default,
            default_for=default_for,
            created=deployment.created if deployment else None,
        )

    def usable(self) -> UsableModel:
        """The model and its queues, for a request.

        Raises:
            UnavailableError: loading, failed or stalled.
        """
        if self.state is ModelState.READY and self._loaded is not None:
            return UsableModel(self._loaded, self._batchers, self._room, self._decoder)
        raise self._not_ready()

    @contextmanager
    def use(self) -> Iterator[UsableModel]:
        """As `usable`, and `retire` waits until the request has left."""
        usable = self.usable()
        with self._in_flight.enter():
            yield usable

    @property
    def requests(self) -> int:
        """Requests inside."""
        return self._in_flight.count

    def stalled(self) -> bool:
        """Whether a batch has been running for too long to wait for it."""
        return self._busy_for() > self._watchdog.stall_after_s

    def alive(self) -> bool:
        """False when only a restart of the process helps."""
        return self._busy_for() <= self._watchdog.dead_after_s and all(queue.alive() for queue in self._queues.values())

    async def load(self, thread: EngineThread) -> None:
        """Load in the given thread and start the queues. Never raises: a failure is a state."""
        try:
            loaded = await thread.run(lambda: self._load(self.settings))
        except (StartupError, UnavailableError) as error:
            self._fail(error.message)
            logger.error("model %s cannot be served: %s (%s)", self.label, error.message, error.detail)
            return
        except Exception as error:
            self._fail(InternalError().message)
            logger.exception("model %s cannot be served: %s", self.label, getattr(error, "detail", None) or repr(error))
            return
        self._start(loaded)

    async def check_canary(self) -> None:
        """Run the canary of every graph between batches, and take its verdict: a model can fail, and recover, while it
        serves.

        Nobody knows since when a model that fails has answered wrongly: its kept answers go, and what waits
        for any of its graphs fails.
        """
        loaded = self._loaded
        if loaded is None or not self._batchers or self._away() is not None:
            return
        for observer in self._observers:
            observer.all_failed = False
        if loaded.remote is not None:
            await self._check_elsewhere(loaded, loaded.remote)
            return
        try:
            for role, queue in self._queues.items():
                await queue.run_alone(functools.partial(loaded.check_canary, role))
        except VlpError as error:
            logger.error("model %s: %s (%s)", self.label, error.message, error.detail)
            self._metrics.canary.labels(self.label, "failed").inc()
            self._fail(error.message)
            for queue in self._queues.values():
                queue.distrust(self._not_ready())
            self._forget_what_was_kept(loaded)
            return
        self._metrics.canary.labels(self.label, "ok").inc()
        self._fault = None
        for queue in self._queues.values():
            queue.trust()
        self.publish_state()

    async def _check_elsewhere(self, loaded: LoadedModel, engine: RemoteEngine) -> None:
        """The same of graphs that lie elsewhere, perhaps at several places: only those that are wrong are not asked any
        more, and what they answered may have been kept.
        """
        await engine.check()
        if not self._note_what_was_found(loaded, engine):
            self._metrics.canary.labels(self.label, "ok").inc()
        self.publish_state()

    def _note_what_was_found(self, loaded: LoadedModel, engine: RemoteEngine) -> bool:
        wrong = engine.found_wrong()
        for reason in wrong:
            logger.error("model %s: %s", self.label, reason)
            self._metrics.canary.labels(self.label, "failed").inc()
        if wrong:
            self._forget_what_was_kept(loaded)
        return bool(wrong)

    def _forget_what_was_kept(self, loaded: LoadedModel) -> None:
        forgotten = self._forget_answers(loaded.digest)
        logger.warning("model %s: %d kept answers dropped", self.label, forgotten)

    def wants_canary(self) -> bool:
        """Whether the canary should run soon: a batch has failed as a whole, or the canary itself has."""
        failed = self._fault is not None or any(observer.all_failed for observer in self._observers)
        return bool(self._batchers) and failed

    def publish_state(self) -> None:
        """Write the ready gauge, once it is known under which label, and take note of what was found elsewhere."""
        if self._loaded is not None and self._remote is not None:
            self._note_what_was_found(self._loaded, self._remote)
        if self._loaded is not None or self.state is not ModelState.LOADING:
            self._metrics.model_ready.labels(self.label).set(self.state is ModelState.READY)
        for address, is_up in (self._remote.places() if self._remote is not None else {}).items():
            self._metrics.place_up.labels(self.label, address).set(is_up)

    async def retire(self, threads: ThreadTeam) -> None:
        """Wait for the requests inside, unload the graphs, and leave nothing: no answers, no gauge.

        To be called when nobody can find it any more.

        Args:
            threads: where the engine is asked to unload.
        """
        await self._in_flight.drained()
        try:
            for queue in self._queues.values():
                await queue.close()
            if (loaded := self._loaded) is not None:
                self._forget_answers(loaded.digest)
                await threads.run(lambda: _unload(loaded))
        finally:
            await self.close()
            places = self._remote.places() if self._remote is not None else ()
            self._metrics.forget_model(self.label, tuple(self._queues), places)

    async def close(self) -> None:
        """Fail what waits and free the engine."""
        for queue in self._queues.values():
            await queue.close()
        if self._loaded is not None:
            self._loaded.engine.close()
        if self._fault is None:
            self._fault = "the server is stopping"

    def _start(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        for role in loaded.keys:
            observer = ModelObserver(self._metrics, loaded.label, role)
            self._observers.append(observer)
            if loaded.remote is not None and (role != DECODER_ROLE or loaded.tasks_there is not None):
                self._batchers[role] = self._make_remote(loaded, role, observer, loaded.remote)
            elif role == DECODER_ROLE:
                self._decoder = self._make_decoder(loaded, observer)
            else:
                self._batchers[role] = self._make_batcher(loaded, role, observer)
        for queue in self._queues.values():
            queue.start()
        self._metrics.canary.labels(loaded.label, "ok").inc()
        self.publish_state()

    def _make_batcher(self, loaded: LoadedModel, role: str, observer: ModelObserver) -> Batcher:
        """The queue of one graph; items of different graphs never share a batch, and each has its own bounds."""
        engine, axes = self.settings.engine, loaded.deployment.axes
        scheduler = BatchScheduler(
            self.settings.batch,
            self._admission,
            max_items=axes["batch"].max if "batch" in axes else None,
            workers=engine.workers,
        )
        name = f"{loaded.label}/{role}"
        return Batcher(name, loaded.compute, scheduler, observer, workers=engine.workers, clock=self._clock)

    def _make_remote(
        self, loaded: LoadedModel, role: str, observer: ModelObserver, engine: RemoteEngine
    ) -> RemoteQueue:
        """The way to a graph that lies elsewhere, where batches are made, too: of rows of equal shapes."""
        buckets = buckets_of(loaded.deployment.axes)
        return RemoteQueue(
            f"{loaded.label}/{role}",
            lambda item: loaded.pipeline.collate([item], buckets),
            functools.partial(engine.infer, loaded.keys[role]),
            self._admission,
            observer,
            parallel=self.settings.engine.triton_connections,
            clock=self._clock,
        )

    def _disproved(self) -> bool:
        """Whether its graphs lie elsewhere, and answered wrongly there."""
        return self._remote is not None and self._remote.disproved()

    def _away(self) -> str | None:
        """Why nobody answers for its graphs, where they lie elsewhere."""
        return None if self._remote is None else self._remote.why_not_ready()

    @property
    def _remote(self) -> RemoteEngine | None:
        """The engine, where its graphs lie elsewhere."""
        return self._loaded.remote if self._loaded is not None else None

    def _make_decoder(self, loaded: LoadedModel, observer: ModelObserver) -> DecoderLoop:
        """Where the texts of a model that writes are written."""
        graph, bulk_every = loaded.deployment.graph(DECODER_ROLE), self.settings.batch.bulk_every
        return DecoderLoop(
            f"{loaded.label}/{DECODER_ROLE}",
            RunningTexts(DecoderShape.of(graph), functools.partial(loaded.engine.run, loaded.keys[DECODER_ROLE])),
            (WaitingTexts(self._admission, bulk_every), WaitingTexts(self._admission, bulk_every)),
            observer,
            max_rows=min(self.settings.batch.max_texts, loaded.deployment.axes["batch"].max),
            clock=self._clock,
        )

    @property
    def _queues(self) -> dict[str, WorkQueue]:
        """All that work for it waits in, by role."""
        return {**self._batchers, **({} if self._decoder is None else {DECODER_ROLE: self._decoder})}

    def _fail(self, reason: str) -> None:
        self._fault = reason
        self.publish_state()

    def _not_ready(self) -> UnavailableError:
        return UnavailableError(
            f"model {self.label!r} is not ready: {self.reason}",
            retry_after_s=_LOADING_RETRY_S if self.state is ModelState.LOADING else _FAILED_RETRY_S,
        )

    def _busy_for(self) -> float:
        busy = [since for queue in self._queues.values() if (since := queue.busy_since()) is not None]
        return self._clock() - min(busy) if busy else 0.0


def _unload(loaded: LoadedModel) -> None:
    """Unload every graph; raises what the first of those that failed raised."""
    faults = []
    for key in loaded.keys.values():
        try:
            loaded.engine.unload(key)
        except Exception as error:
            faults.append(error)
    if faults:
        raise faults[0]
