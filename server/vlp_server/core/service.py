"""The service: the one API that every door calls. It knows no HTTP, no protobuf and no configuration file."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

import numpy as np
from prometheus_client import CollectorRegistry
from vlp_pipeline.images import ImageLimits, open_picture
from vlp_pipeline.pipeline import EmbeddingPipeline
from vlp_pipeline.regions import Regions
from vlp_pipeline.text import TextLimits
from vlp_spec.errors import InvalidArgumentError, TaskNotSupportedError, TooLargeError
from vlp_spec.tasks import (
    CaptionQuery,
    ClassifyQuery,
    EntailmentQuery,
    GroundingQuery,
    Lane,
    MatchQuery,
    ReasoningQuery,
    Task,
    VqaQuery,
)

from vlp_server.core.admission import Admission
from vlp_server.core.answer_flows import AnswerFlows
from vlp_server.core.available_models import AvailableModels
from vlp_server.core.collections import Collections, Flows
from vlp_server.core.content_digest import content_digest
from vlp_server.core.dimensions import shortened
from vlp_server.core.directory import ModelDirectory
from vlp_server.core.embed_flow import EmbedFlow, Source
from vlp_server.core.hosted_models import HostedModels
from vlp_server.core.loading import EngineFactory, LoadedModel, load_model
from vlp_server.core.metrics import Metrics
from vlp_server.core.model_loader import ModelLoader
from vlp_server.core.model_management import ModelManagement
from vlp_server.core.picture_flow import Picture, picture_fault
from vlp_server.core.preprocess_pool import PreprocessPool
from vlp_server.core.records import (
    CaptionPiece,
    CaptionReply,
    ClassifyReply,
    EmbedReply,
    Encoder,
    EntailmentReply,
    GroundingReply,
    MatchReply,
    ModelCard,
    ModelState,
    QueryReply,
    Readiness,
    ReasoningReply,
    RegionsReply,
    VqaReply,
    longest,
)
from vlp_server.core.region_flow import RegionFlow
from vlp_server.core.request_life import Request, RequestLife, Terms, check_task
from vlp_server.core.served_model import READY, ServedModel
from vlp_server.core.settings import CoreSettings, ModelSettings
from vlp_server.core.text_meter import TextMeter
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel
from vlp_server.core.watchdog import Watchdog
from vlp_server.core.zero_shot import label_vector, score_labels
from vlp_server.engines.registry import build_engine
from vlp_server.index.store import VectorStore


class Service:
    """Answers requests with the models of `settings`.

    All methods belong to one event loop; the async ones wait, the others return at once. Constructing loads nothing.

    Args:
        store: where collections are kept, open; closed with the service. None = there are no collections.
        make_engine: for tests that need a hold on the engine.
        clock: monotonic seconds; deadlines are on it.

    Attributes:
        management: changes which models are served.
        hosted: every graph and task by itself, as model servers have them.

    Raises:
        ConfigError: the default model is not among the models.
    """

    def __init__(
        self,
        settings: CoreSettings,
        *,
        store: VectorStore | None = None,
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
        self._regions = RegionFlow(settings.cache, self._pool, self._metrics, clock)
        self._embedding = EmbedFlow(settings.cache, self._pool, self._metrics, clock)
        self._answers = AnswerFlows(
            settings.cache,
            self._pool,
            self._metrics,
            regions=self._regions,
            vectors=self._embedding,
            extractor_for=lambda reader: self._directory.extractor_for(reader),
            clock=clock,
        )
        self._life = RequestLife(settings.admission, self._admission, self._metrics, clock)
        served = [self._serve(model) for model in settings.models]
        self._directory = ModelDirectory(served, settings.default_model)
        self.hosted = HostedModels(self._directory, self._life)
        self._watchdog = Watchdog(self._directory, settings.watchdog)
        available = AvailableModels(settings)
        self._loader = ModelLoader(self._directory, self._watchdog, available, self._serve, clock)
        self.management = ModelManagement(self._directory, self._loader, available, clock)
        flows = Flows(
            self._directory, self._life, self._embedding, self._answers, self._check_decodes, settings.max_image_bytes
        )
        self._collections = None if store is None else Collections(store, flows, settings.collections, clock)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @property
    def collections(self) -> Collections:
        """What the service does with collections.

        Raises:
            TaskNotSupportedError: it keeps none.
        """
        if self._collections is None:
            raise TaskNotSupportedError(
                "this server keeps no collections: none of its models makes vectors, or collections.enabled is off"
            )
        return self._collections

    @property
    def metrics(self) -> CollectorRegistry:
        """The service's own Prometheus registry."""
        return self._metrics.registry

    async def start(self) -> None:
        """Start loading the models in the background and return at once; `readiness` says when they are there."""
        self._loop = asyncio.get_running_loop()
        if not self._loader.started:
            self._loader.start()
            self._watchdog.start()
            if self._collections is not None:
                self._collections.start()

    async def wait_ready(self, timeout_s: float) -> Readiness:
        """Wait until no model is loading any more (all ready or failed), or the time is over."""
        await self._loader.wait_loaded(timeout_s)
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
        if self._collections is not None:
            await self._collections.close()
        await self._loader.close()
        self._pool.close()

    async def vqa(
        self,
        image: Picture,
        queries: Sequence[VqaQuery],
        *,
        model: str | None = None,
        deadline: float | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> VqaReply:
        """Answer questions about one picture.

        Args:
            image: an encoded picture; or its regions, for a model that reads them.
            queries: at least one; they share the picture's decoding, and batches where they fit.
            model: "name", "name@version" or "name@alias"; None = the default model.
            deadline: time.monotonic() seconds; None = the default timeout from now.
            lane: bulk requests wait behind interactive ones.

        Raises:
            VlpError: any RequestError, CapacityError, InferenceError or InternalError of vlp_spec.errors; with several
                queries the first error of any of them.
            asyncio.CancelledError: the awaiting task was cancelled; its items have left the queue.
        """
        asked = self._request(Task.VQA, model, [image], deadline, lane)
        return await self._answer(asked, [image], queries, "questions")

    async def match(
        self,
        image: Picture,
        queries: Sequence[MatchQuery],
        *,
        model: str | None = None,
        deadline: float | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> MatchReply:
        """Say how well each of some texts fits a picture; arguments and errors as `vqa`."""
        asked = self._request(Task.MATCH, model, [image], deadline, lane)
        return await self._answer(asked, [image], queries, "texts")

    async def entailment(
        self,
        image: Picture,
        queries: Sequence[EntailmentQuery],
        *,
        model: str | None = None,
        deadline: float | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> EntailmentReply:
        """Say what a picture says of each of some hypotheses; arguments and errors as `vqa`."""
        asked = self._request(Task.ENTAILMENT, model, [image], deadline, lane)
        return await self._answer(asked, [image], queries, "hypotheses")

    async def reasoning(
        self,
        images: tuple[Picture, Picture],
        queries: Sequence[ReasoningQuery],
        *,
        model: str | None = None,
        deadline: float | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> ReasoningReply:
        """Say of each of some statements whether it is true of two pictures, left and right; the rest as `vqa`."""
        asked = self._request(Task.REASONING, model, images, deadline, lane)
        return await self._answer(asked, images, queries, "statements")

    async def grounding(
        self,
        image: Picture,
        queries: Sequence[GroundingQuery],
        *,
        model: str | None = None,
        deadline: float | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> GroundingReply:
        """Find what each of some phrases names in a picture; arguments and errors as `vqa`."""
        asked = self._request(Task.GROUNDING, model, [image], deadline, lane)
        return await self._answer(asked, [image], queries, "phrases")

    async def caption(
        self,
        image: Picture,
        query: CaptionQuery,
        *,
        model: str | None = None,
        deadline: float | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> CaptionReply:
        """Say in words what a picture shows; arguments and errors as `vqa`."""

        async def write(usable: UsableModel, urgency: Urgency) -> CaptionReply:
            result, timings = await self._answers.caption(usable, image, query, urgency)
            return QueryReply(usable.loaded.label, [result], timings)

        request = self._request(Task.CAPTION, model, [image], deadline, lane)
        return await self._life.run(replace(request, check=lambda: self._check_pictures([image])), write)

    async def stream_caption(
        self,
        image: Picture,
        query: CaptionQuery,
        *,
        model: str | None = None,
        deadline: float | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> AsyncGenerator[CaptionPiece | CaptionReply]:
        """The same, word by word as it is written, and last the whole reply.

        Whoever closes it early frees its place at the decoder's next step.
        """

        async def write(usable: UsableModel, urgency: Urgency) -> AsyncGenerator[CaptionPiece | CaptionReply]:
            async with aclosing(self._answers.stream_caption(usable, image, query, urgency)) as news:
                async for one in news:
                    if isinstance(one, CaptionPiece):
                        yield one
                    else:
                        yield QueryReply(usable.loaded.label, [one[0]], one[1])

        request = self._request(Task.CAPTION, model, [image], deadline, lane)
        checked = replace(request, check=lambda: self._check_pictures([image]))
        async with aclosing(self._life.stream(checked, write)) as news:
            async for one in news:
                yield one

    async def regions(
        self,
        image: bytes,
        *,
        model: str | None = None,
        deadline: float | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> RegionsReply:
        """Find the regions of a picture, with the features that models read; arguments and errors as `vqa`."""

        async def find(usable: UsableModel, urgency: Urgency) -> RegionsReply:
            digest = await content_digest(image, self._pool, urgency)
            worked = await self._regions.find(usable, image, digest, urgency)
            return RegionsReply(usable.loaded.label, usable.loaded.encoder_digest, worked.value, worked.timings)

        request = self._request(Task.REGIONS, model, [image], deadline, lane)
        return await self._life.run(replace(request, check=lambda: self._check_pictures([image])), find)

    async def embed(
        self,
        items: Sequence[Source],
        *,
        dimensions: int | None = None,
        model: str | None = None,
        deadline: float | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> EmbedReply:
        """Make vectors of encoded pictures and of texts, mixed as they come.

        Args:
            items: at least one.
            dimensions: shorter vectors, where the model allows them.

        Raises:
            VlpError: the first error of any item; see `vqa`.
        """
        pictures = [item for item in items if isinstance(item, bytes)]

        def check() -> None:
            if not items:
                raise InvalidArgumentError("input: an empty list; give at least one text or picture", field="input")
            self._check_pictures(pictures)

        async def answer(usable: UsableModel, urgency: Urgency) -> EmbedReply:
            pipeline = cast(EmbeddingPipeline, usable.loaded.pipeline)
            cut = shortened(usable.loaded.deployment, pipeline.dimension, dimensions)
            worked = await self._embedding.embed(usable, pipeline, items, urgency)
            return EmbedReply(
                model=usable.loaded.label,
                encoder=usable.loaded.encoder_digest,
                vectors=cut(np.stack([one.value.vector for one in worked])),
                tokens=sum(one.value.tokens for one in worked),
                timings=longest([one.timings for one in worked]),
            )

        request = self._request(Task.EMBEDDINGS, model, pictures, deadline, lane)
        return await self._life.run(replace(request, check=check), answer)

    async def classify(
        self,
        image: bytes,
        query: ClassifyQuery,
        *,
        model: str | None = None,
        deadline: float | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> ClassifyReply:
        """Score labels that the model was never trained on (zero-shot); arguments and errors as `vqa`.

        The vectors of the labels are kept, so the next picture with the same labels costs one picture.
        """
        texts = [text for label in query.labels for text in query.texts(label)]

        async def answer(usable: UsableModel, urgency: Urgency) -> ClassifyReply:
            pipeline = cast(EmbeddingPipeline, usable.loaded.pipeline)
            worked = await self._embedding.embed(usable, pipeline, [image, *texts], urgency)
            picture, *said = [one.value.vector for one in worked]
            ways = len(query.templates)
            labels = [label_vector(said[start : start + ways]) for start in range(0, len(said), ways)]
            result = score_labels(picture, query.labels, labels, pipeline)
            return ClassifyReply(usable.loaded.label, result, longest([one.timings for one in worked]))

        request = self._request(Task.CLASSIFY, model, [image], deadline, lane)
        return await self._life.run(replace(request, check=lambda: self._check_pictures([image])), answer)

    def encoder(self, model: str | None = None) -> Encoder:
        """What makes the vectors of `embed`; errors as there."""
        usable = self._directory.find(model, Task.EMBEDDINGS).usable()
        check_task(usable, Task.EMBEDDINGS)
        dimension = cast(EmbeddingPipeline, usable.loaded.pipeline).dimension
        return Encoder(usable.loaded.label, usable.loaded.encoder_digest, dimension)

    def meter(self, model: str | None = None, task: Task | None = None) -> TextMeter:
        """How the model that a request means counts tokens; errors as there, whatever it does."""
        return TextMeter.of(self._directory.find(model, task).usable().loaded)

    def models(self, wanted: str | None = None) -> list[ModelCard]:
        """The served models, the default one first; or the one that a request means (ModelNotFoundError: none)."""
        return self._directory.cards(wanted)

    def alive(self) -> bool:
        """False when only a restart helps: an engine or a decoder is stuck, or the service's own tasks have died.

        A model on trial is not worth a restart, after which it would not even be there.
        """
        decoding = self._preprocess_busy_s() <= self.settings.watchdog.dead_after_s
        return decoding and self._watchdog.alive() and all(model.alive() for model in self._directory.leading())

    def readiness(self) -> Readiness:
        """Whether requests should come here, with a reason for each model."""
        models = {model.label: model.reason for model in self._directory}
        if self._admission.draining:
            return Readiness(False, models, "draining")
        needed = self._directory.leading()
        if not needed or any(model.state is not ModelState.READY for model in needed):
            return Readiness(False, models, "some models are not ready" if self._loader.started else "starting")
        stall_after_s = self.settings.watchdog.stall_after_s
        if self._preprocess_busy_s() > stall_after_s:
            return Readiness(False, models, f"stalled: a picture has been decoded for more than {stall_after_s:g} s")
        return Readiness(True, models, READY)

    def _preprocess_busy_s(self) -> float:
        since = self._pool.busy_since()
        return 0.0 if since is None else self._clock() - since

    @property
    def _image_limits(self) -> ImageLimits:
        core = self.settings
        return ImageLimits(
            max_bytes=core.max_image_bytes, max_pixels=core.max_image_pixels, max_side=core.max_image_side
        )

    def _forget_answers(self, model_digest: str) -> int:
        found = self._regions.forget_regions(model_digest)
        for digest in (model_digest, *self._directory.readers_of(model_digest)):
            found += self._answers.forget(digest)
        return found + self._embedding.forget_vectors(model_digest)

    async def _answer(
        self, request: Request, pictures: Sequence[Picture], queries: Sequence[Any], name: str
    ) -> QueryReply[Any]:
        """Ask about pictures; `name` is what the queries are in messages."""

        async def answer(usable: UsableModel, urgency: Urgency) -> QueryReply[Any]:
            results, timings = await self._answers.answer(Task(request.operation), usable, pictures, queries, urgency)
            return QueryReply(usable.loaded.label, results, timings)

        check = functools.partial(self._check_queries, name, len(queries), pictures)
        return await self._life.run(replace(request, check=check), answer)

    def _request(
        self, task: Task, model: str | None, pictures: Sequence[Picture], deadline: float | None, lane: Lane
    ) -> Request:
        size = sum(one.size_bytes if isinstance(one, Regions) else len(one) for one in pictures)
        terms = Terms(size_bytes=size, deadline=deadline, lane=lane)
        return Request(operation=task, task=task, find=lambda: self._directory.find(model, task), terms=terms)

    def _check_queries(self, name: str, count: int, pictures: Sequence[Picture]) -> None:
        limit = self.settings.admission.max_queries
        if not count:
            raise InvalidArgumentError(f"{name}: an empty list; ask at least one", field=name)
        if count > limit:
            raise TooLargeError(f"{name}: {count} in one request, at most {limit} are taken; send several")
        self._check_pictures(pictures)

    def _check_pictures(self, pictures: Sequence[Picture]) -> None:
        for picture in pictures:
            if fault := picture_fault(picture, self.settings.max_image_bytes):
                raise fault

    async def _check_decodes(self, picture: bytes, urgency: Urgency) -> None:
        await self._pool.run(
            lambda: open_picture(picture, self._image_limits), lane=urgency.lane, deadline=urgency.deadline
        )

    def _serve(self, settings: ModelSettings) -> ServedModel:
        return ServedModel(
            settings,
            self._load_model,
            admission=self.settings.admission,
            watchdog=self.settings.watchdog,
            metrics=self._metrics,
            forget_answers=self._forget_answers,
            clock=self._clock,
        )

    def _load_model(self, settings: ModelSettings) -> LoadedModel:
        texts = TextLimits(max_chars=self.settings.max_text_chars)
        return load_model(settings, self._image_limits, texts, self._make_engine, self._loop)
