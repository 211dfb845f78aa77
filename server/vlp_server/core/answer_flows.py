"""All ways from a picture and queries to answers; which of them a model's is, its pipeline says."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

from vlp_pipeline.generative import (
    CaptionPipeline,
    StagedMatchPipeline,
    StagedReasoningPipeline,
    WrittenAnswerPipeline,
)
from vlp_pipeline.pipeline import RegionReader
from vlp_pipeline.regions import Regions
from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import CaptionQuery, CaptionResult, Task

from vlp_server.core.answer_cache import AnswerCache
from vlp_server.core.embed_flow import EmbedFlow
from vlp_server.core.metrics import Metrics
from vlp_server.core.picture_flow import Asking, Matching, Picture, PictureFlow, QueryPipeline
from vlp_server.core.preprocess_pool import PreprocessPool
from vlp_server.core.records import CaptionPiece, Timings
from vlp_server.core.region_flow import RegionFlow
from vlp_server.core.remote_task_flow import RemoteTaskFlow
from vlp_server.core.settings import CacheSettings
from vlp_server.core.staged_flow import StagedFlow
from vlp_server.core.states_flow import StatesFlow
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel
from vlp_server.core.writing_flow import WritingFlow


class AnswerFlows:
    """Answers queries about pictures with whatever model; all flows share one cache of answers.

    Args:
        extractor_for: gives the model that makes a pipeline's region features, to be used within the context.
    """

    def __init__(
        self,
        cache: CacheSettings,
        pool: PreprocessPool,
        metrics: Metrics,
        *,
        regions: RegionFlow,
        vectors: EmbedFlow,
        extractor_for: Callable[[RegionReader], AbstractContextManager[UsableModel]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answers = AnswerCache(cache, metrics, clock)
        self._states = StatesFlow(cache, pool, metrics, clock)
        self._joined = PictureFlow(
            cache, self._answers, pool, metrics, regions=regions, extractor_for=extractor_for, clock=clock
        )
        self._staged = StagedFlow(self._answers, self._states, vectors, pool, clock)
        self._there = RemoteTaskFlow(self._answers, pool, clock)
        self._writing = WritingFlow(self._answers, self._states, pool, metrics, clock)

    async def answer(
        self, task: Task, model: UsableModel, pictures: Sequence[Picture], queries: Sequence[Any], urgency: Urgency
    ) -> tuple[list[Any], Timings]:
        """Answer all queries of a task, in their order.

        Raises:
            VlpError: the first error of any query.
        """
        pipeline: Any = model.loaded.pipeline
        if not model.loaded.is_staged:
            asking: QueryPipeline[Any, Any] = Matching(pipeline) if task is Task.MATCH else Asking(pipeline)
            return await self._joined.answer(model, asking, pictures, queries, urgency)
        files = [_file(picture, model) for picture in pictures]
        if model.loaded.tasks_there is not None:
            return await self._there.answer(task, model, files, queries, urgency)
        if task is Task.REASONING:
            return await self._staged.reason(model, cast(StagedReasoningPipeline, pipeline), files, queries, urgency)
        if task is Task.MATCH:
            return await self._staged.match(model, cast(StagedMatchPipeline, pipeline), files[0], queries, urgency)
        return await self._writing.answer(model, cast(WrittenAnswerPipeline, pipeline), files[0], queries, urgency)

    async def caption(
        self, model: UsableModel, picture: Picture, query: CaptionQuery, urgency: Urgency
    ) -> tuple[CaptionResult, Timings]:
        """Caption a picture; errors as `answer`."""
        if model.loaded.tasks_there is not None:
            return await self._there.caption(model, _file(picture, model), query, urgency)
        pipeline = cast(CaptionPipeline, model.loaded.pipeline)
        return await self._writing.caption(model, pipeline, _file(picture, model), query, urgency)

    def stream_caption(
        self, model: UsableModel, picture: Picture, query: CaptionQuery, urgency: Urgency
    ) -> AsyncGenerator[CaptionPiece | tuple[CaptionResult, Timings]]:
        """The same, word by word; see WritingFlow."""
        if model.loaded.tasks_there is not None:
            return self._there.stream_caption(model, _file(picture, model), query, urgency)
        pipeline = cast(CaptionPipeline, model.loaded.pipeline)
        return self._writing.stream_caption(model, pipeline, _file(picture, model), query, urgency)

    def forget(self, model_digest: str) -> int:
        """Drop all that is kept of a model that can no longer be trusted; says how much."""
        return self._answers.forget_model(model_digest) + self._states.forget_states(model_digest)


def _file(picture: Picture, model: UsableModel) -> bytes:
    if isinstance(picture, Regions):
        raise InvalidArgumentError(f"model {model.loaded.label!r} reads pictures, not regions", field="regions")
    return picture
