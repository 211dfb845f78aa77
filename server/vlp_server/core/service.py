"""The service: the one API that every door calls. It knows no HTTP, no protobuf and no configuration file."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry
from vlp_pipeline.images import ImageLimits
from vlp_pipeline.text import TextLimits
from vlp_spec.errors import (
    DeadlineError,
    ErrorKind,
    InternalError,
    InvalidArgumentError,
    TaskNotSupportedError,
    TooLargeError,
    VlpError,
)
from vlp_spec.tasks import Lane, Task, VqaQuery

from vlp_server.core.admission import Admission
from vlp_server.core.directory import ModelDirectory
from vlp_server.core.engine_thread import EngineThread
from vlp_server.core.loading import EngineFactory, LoadedModel, load_model
from vlp_server.core.metrics import SUCCESS, UNKNOWN_MODEL, Metrics
from vlp_server.core.preprocess_pool import PreprocessPool
from vlp_server.core.records import ModelCard, ModelState, Readiness, VqaReply
from vlp_server.core.served_model import READY, ServedModel
from vlp_server.core.settings import CoreSettings, ModelSettings
from vlp_server.core.vqa_flow import Urgency, VqaFlow
from vlp_server.core.watchdog import Watchdog
from vlp_server.engines.registry import build_engine

logger = logging.getLogger(__name__)


class Service:
    """Answers requests with the models of `settings`.

    All methods belong to one event loop; the async ones wait, the others return at once. Constructing loads nothing.

    Args:
        make_engine: for tests that need a hold on the engine.
        clock: monotonic seconds; deadlines are on it.

    Raises:
        ConfigError: the default model is not among the models.
    """

    def __init__(
        self,
        settings: CoreSettings,
        *,
        make_engine: EngineFactory = build_engine,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._make_engine = make_engine
        self._clock = clock
        self._metrics = Metrics()
        self._admission = Admission(settings.admission)
        self._metrics.requests_inside.set_function(lambda: self._admission.requests)
        self._pool = PreprocessPool(settings.preprocess_threads, clock)
        self._flow = VqaFlow(settings.cache, self._pool, self._metrics, clock)
        self._loader = EngineThread("loader")
        served = [self._serve(model) for model in settings.models]
        self._directory = ModelDirectory(served, settings.default_model)
        self._watchdog = Watchdog(served, settings.watchdog)
        self._loading: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def metrics(self) -> CollectorRegistry:
        """The service's own Prometheus registry."""
        return self._metrics.registry

    async def start(self) -> None:
        """Start loading the models in the background and return at once; `readiness` says when they are there."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load_all())
            self._watchdog.start()

    async def wait_ready(self, timeout_s: float) -> Readiness:
        """Wait until no model is loading any more (all ready or failed), or the time is over."""
        if self._loading is not None:
            await asyncio.wait([self._loading], timeout=timeout_s)
        return self.readiness()

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new requests (UnavailableError) and wait for those inside; True when all have ended in time."""
        return await self._admission.drain(timeout_s)

    async def close(self) -> None:
        """Stop everything; requests still inside fail with UnavailableError. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._admission.draining = True
        await self._watchdog.close()
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        self._loader.close()
        for model in self._directory:
            await model.close()
        self._pool.close()

    async def vqa(
        self,
        image: bytes,
        queries: Sequence[VqaQuery],
        *,
        model: str | None = None,
        deadline: float | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> VqaReply:
        """Answer questions about one picture.

        Args:
            image: an encoded picture.
            queries: at least one; they share the picture's decoding, and batches where they fit.
            model: "name", "name@version" or "name@alias"; None = the default model.
            deadline: time.monotonic() seconds; None = the default timeout from now.
            lane: bulk requests wait behind interactive ones.

        Raises:
            VlpError: any RequestError, CapacityError, InferenceError or InternalError of vlp_spec.errors; with several
                queries the first error of any of them.
            asyncio.CancelledError: the awaiting task was cancelled; its items have left the queue.
        """
        started = self._clock()
        label, outcome = UNKNOWN_MODEL, str(ErrorKind.CANCELLED)
        try:
            served = self._directory.find(model)
            label = served.label
            reply = await self._vqa(served, image, queries, deadline, lane)
            outcome = SUCCESS
            self._metrics.observe_timings(label, Task.VQA, reply.timings, self._clock() - started)
            return reply
        except VlpError as error:
            outcome = str(error.kind)
            raise
        except Exception as error:
            outcome = str(ErrorKind.INTERNAL)
            logger.exception("a request failed")
            raise InternalError(detail=repr(error)) from error
        finally:
            self._metrics.count_request(label, Task.VQA, outcome)

    def models(self) -> list[ModelCard]:
        """The served models, the default one first."""
        default = self._directory.default
        ordered = sorted(self._directory, key=lambda model: model is not default)
        return [model.card(default=model is default) for model in ordered]

    def alive(self) -> bool:
        """False when only a restart helps: an engine or a decoder is stuck, or the service's own tasks have died."""
        decoding = self._preprocess_busy_s() <= self.settings.watchdog.dead_after_s
        return decoding and self._watchdog.alive() and all(model.alive() for model in self._directory)

    def readiness(self) -> Readiness:
        """Whether requests should come here, with a reason for each model."""
        models = {model.label: model.reason for model in self._directory}
        if self._admission.draining:
            return Readiness(False, models, "draining")
        if any(model.state is not ModelState.READY for model in self._directory):
            return Readiness(False, models, "some models are not ready" if self._loading else "starting")
        stall_after_s = self.settings.watchdog.stall_after_s
        if self._preprocess_busy_s() > stall_after_s:
            return Readiness(False, models, f"stalled: a picture has been decoded for more than {stall_after_s:g} s")
        return Readiness(True, models, READY)

    def _preprocess_busy_s(self) -> float:
        since = self._pool.busy_since()
        return 0.0 if since is None else self._clock() - since

    async def _vqa(
        self, served: ServedModel, image: bytes, queries: Sequence[VqaQuery], deadline: float | None, lane: Lane
    ) -> VqaReply:
        """Check, admit and answer within the deadline."""
        loaded, batcher = served.usable()
        if Task.VQA not in loaded.deployment.tasks:
            raise TaskNotSupportedError(
                f"model {loaded.label!r}: does not do {Task.VQA}, it does {', '.join(loaded.deployment.tasks)}"
            )
        if not queries:
            raise InvalidArgumentError("questions: an empty list; ask at least one", field="questions")
        if len(image) > self.settings.max_image_bytes:
            raise TooLargeError(
                f"image: {len(image)} bytes, this server reads at most {self.settings.max_image_bytes}; send fewer"
            )
        limit = self.settings.admission.max_queries
        if len(queries) > limit:
            raise TooLargeError(f"questions: {len(queries)} in one request, at most {limit} are taken; send several")
        now = self._clock()
        until = now + self.settings.admission.default_timeout_s if deadline is None else deadline
        if until <= now:
            raise DeadlineError("the deadline had passed when the request came")
        with self._admission.enter(len(image), batcher.retry_after_s()):
            try:
                async with asyncio.timeout(until - now):
                    return await self._flow.answer(loaded, batcher, image, queries, Urgency(lane, until))
            except TimeoutError:
                raise DeadlineError("the deadline passed before the answer was there") from None

    def _serve(self, settings: ModelSettings) -> ServedModel:
        return ServedModel(
            settings,
            self._load_model,
            admission=self.settings.admission,
            watchdog=self.settings.watchdog,
            metrics=self._metrics,
            forget_answers=self._flow.forget_answers,
            clock=self._clock,
        )

    def _load_model(self, settings: ModelSettings) -> LoadedModel:
        core = self.settings
        images = ImageLimits(
            max_bytes=core.max_image_bytes, max_pixels=core.max_image_pixels, max_side=core.max_image_side
        )
        return load_model(settings, images, TextLimits(max_chars=core.max_text_chars), self._make_engine)

    async def _load_all(self) -> None:
        """One after another: two models loading at once would each take the memory that the other has counted on."""
        for model in self._directory:
            await model.load(self._loader)
            logger.info("model %s: %s", model.label, model.reason)
