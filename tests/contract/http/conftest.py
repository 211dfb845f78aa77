"""The HTTP door in process: over a service that answers what a test tells it, and over the real one, dummy engine."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from vlp_pipeline.pipeline import FoundRegions
from vlp_pipeline.regions import check_regions
from vlp_server.config import ServerConfig
from vlp_server.core.records import (
    CaptionPiece,
    CaptionReply,
    ModelCard,
    ModelState,
    QueryReply,
    Readiness,
    RegionsReply,
    Timings,
)
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings, EngineSettings, ModelSettings
from vlp_server.core.text_meter import TextMeter
from vlp_server.engines.dummy_arrays import DummyWords
from vlp_server.http.app import create_app
from vlp_spec.tasks import (
    CaptionQuery,
    CaptionResult,
    EntailmentResult,
    GroundingResult,
    MatchResult,
    ReasoningResult,
    ScoredAnswer,
    ScoredBox,
    ScoredCaption,
    ScoredLabel,
    Task,
    VqaQuery,
    VqaResult,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))


R = TypeVar("R")
ANSWERS = (ScoredAnswer("red", 0.75), ScoredAnswer("blue", 0.25))
CAPTIONS = (ScoredCaption("a red boat", 0.75), ScoredCaption("a boat", 0.25))
LABELS = (ScoredLabel("neutral", 0.75), ScoredLabel("entailment", 0.25))


class ScriptedService:
    """Answers at once, or as `behave` says; remembers what it was asked."""

    def __init__(self) -> None:
        self.metrics = CollectorRegistry()
        self.calls: list[dict[str, Any]] = []
        self.behave: Callable[[], Any] | None = None
        self.steps: list[Any] = ["a red", " boat"]
        self.result: Any = CaptionResult(CAPTIONS)
        self.left = self.finished = 0
        self.tasks: tuple[Task, ...] = (Task.VQA,)
        self.ready = Readiness(True, {"scripted@1": "ready"})
        self.is_alive = True

    async def vqa(self, image: bytes, queries: Sequence[VqaQuery], **options: Any) -> QueryReply[VqaResult]:
        return await self._answer(image, queries, VqaResult(ANSWERS), options)

    async def caption(self, image: bytes, query: CaptionQuery, **options: Any) -> CaptionReply:
        return await self._answer(image, [query], self.result, options)

    async def stream_caption(
        self, image: bytes, query: CaptionQuery, **options: Any
    ) -> AsyncGenerator[CaptionPiece | CaptionReply, None]:
        """Takes its steps: words are written, an error is raised, whatever else is called and awaited."""
        self.calls.append({"image": image, "queries": [query], **options})
        try:
            for step in self.steps:
                if isinstance(step, str):
                    yield CaptionPiece(step)
                elif isinstance(step, Exception):
                    raise step
                else:
                    await step()
            if self.result is not None:
                yield QueryReply("scripted@1", [self.result], Timings(queue_ms=1.0, infer_ms=2.5, batch_items=3))
            self.finished += 1
        finally:
            self.left += 1

    async def match(self, image: Any, queries: Sequence[Any], **options: Any) -> QueryReply[MatchResult]:
        return await self._answer(image, queries, MatchResult(0.75), options)

    async def entailment(self, image: Any, queries: Sequence[Any], **options: Any) -> QueryReply[EntailmentResult]:
        return await self._answer(image, queries, EntailmentResult(LABELS), options)

    async def reasoning(self, images: Any, queries: Sequence[Any], **options: Any) -> QueryReply[ReasoningResult]:
        return await self._answer(images, queries, ReasoningResult(0.75), options)

    async def grounding(self, image: Any, queries: Sequence[Any], **options: Any) -> QueryReply[GroundingResult]:
        return await self._answer(image, queries, GroundingResult((ScoredBox((0.0, 0.25, 0.5, 1.0), 0.75),)), options)

    async def regions(self, image: bytes, **options: Any) -> RegionsReply:
        self.calls.append({"image": image, **options})
        if self.behave is not None:
            await self.behave()
        regions = check_regions(np.array([[0.0, 0.25, 0.5, 1.0]]), np.ones((1, 3)))
        return RegionsReply("scripted@1", "digest", FoundRegions(regions, ("cat",), ("",)), Timings(regions_ms=4.0))

    async def _answer(self, image: Any, queries: Sequence[Any], result: R, options: dict[str, Any]) -> QueryReply[R]:
        self.calls.append({"image": image, "queries": list(queries), **options})
        if self.behave is not None:
            await self.behave()
        return QueryReply("scripted@1", [result for _ in queries], Timings(queue_ms=1.0, infer_ms=2.5, batch_items=3))

    def meter(self, model: str | None = None, task: Task | None = None) -> TextMeter:
        return TextMeter("scripted@1", self.tasks, self)

    @property
    def text_processor(self) -> DummyWords:
        return DummyWords(40)

    def begin(self, query: CaptionQuery) -> list[str]:
        return ["start", *query.prompt.split()]

    def room(self, prompt_tokens: int) -> int:
        return 40 - prompt_tokens

    def models(self, wanted: str | None = None) -> list[ModelCard]:
        card = ModelCard(
            name="scripted",
            version=1,
            tasks=(Task.VQA,),
            precision="fp32",
            family="vilt",
            limits={"text": 40},
            state=ModelState.READY,
            reason="ready",
            default=True,
            default_for=(Task.VQA,),
            created="2026-01-02T03:04:05Z",
        )
        return [card]

    def alive(self) -> bool:
        return self.is_alive

    def readiness(self) -> Readiness:
        return self.ready


@asynccontextmanager
async def open_door(service: Any, config: ServerConfig, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(service, config, **options)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door") as client:
        yield client


@pytest.fixture
def scripted() -> ScriptedService:
    return ScriptedService()


@pytest.fixture
async def door(scripted: ScriptedService) -> AsyncIterator[httpx.AsyncClient]:
    async with open_door(scripted, ServerConfig()) as client:
        yield client


@pytest.fixture
def door_with(scripted: ScriptedService) -> Callable[..., Any]:
    """Open a door on the scripted service with a configuration of the test's own."""
    return lambda config, **options: open_door(scripted, config, **options)


@pytest.fixture
def dummy_settings() -> CoreSettings:
    model = ModelSettings(reference="dummy", engine=EngineSettings(engine="dummy"))
    return CoreSettings(models=(model,), preprocess_threads=1)


@pytest.fixture
async def dummy_door(dummy_settings: CoreSettings) -> AsyncIterator[httpx.AsyncClient]:
    service = Service(dummy_settings)
    await service.start()
    assert (await service.wait_ready(30)).ready
    async with open_door(service, ServerConfig()) as client:
        yield client
    await service.close()
