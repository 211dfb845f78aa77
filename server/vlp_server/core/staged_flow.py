"""The life of judgements by models that see each picture by itself, once, and read texts in view of what they saw."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from vlp_pipeline.generative import StagedMatchPipeline, StagedReasoningPipeline
from vlp_pipeline.pipeline import Item
from vlp_spec.tasks import MatchQuery, MatchResult, ReasoningQuery, ReasoningResult

from vlp_server.core.answer_cache import AnswerCache, filled
from vlp_server.core.content_digest import timed_digests
from vlp_server.core.embed_flow import EmbedFlow
from vlp_server.core.fan_out import all_or_first_error
from vlp_server.core.preprocess_pool import PreprocessPool
from vlp_server.core.records import Timings, in_turn, longest
from vlp_server.core.shared_work import Worked
from vlp_server.core.states_flow import States, StatesFlow
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel

Q = TypeVar("Q")


class StagedFlow:
    """Says how well texts fit pictures, and whether statements on two pictures are true.

    Args:
        answers: shared with other flows.
        states: what models see in pictures.
        vectors: embeds texts, for models that also compare embeddings.
    """

    def __init__(
        self,
        answers: AnswerCache,
        states: StatesFlow,
        vectors: EmbedFlow,
        pool: PreprocessPool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answers = answers
        self._states = states
        self._vectors = vectors
        self._pool = pool
        self._clock = clock

    async def match(
        self,
        model: UsableModel,
        pipeline: StagedMatchPipeline,
        picture: bytes,
        queries: Sequence[MatchQuery],
        urgency: Urgency,
    ) -> tuple[list[MatchResult], Timings]:
        """How well each text fits a picture; they are read together.

        Raises:
            VlpError: the first error of any text.
        """
        await self._check([query.text for query in queries], pipeline.check_match, urgency)
        digest, timings = await timed_digests([picture], self._pool, urgency, self._clock)
        keys = [self._answers.key(digest, model.loaded.digest, query) for query in queries]
        found: list[MatchResult | None] = [self._answers.look_up(key) for key in keys]
        missing = [place for place, result in enumerate(found) if result is None]
        timings = replace(timings, cached=len(queries) - len(missing))
        if missing:
            epoch = self._answers.epoch
            texts = tuple(queries[place].text for place in missing)
            # Those who ask the same at the same time share the work; each answer is kept by itself.
            results = await self._answers.work_out(
                self._answers.key(digest, model.loaded.digest, texts),
                lambda: self._judge(model, pipeline, (picture, digest[0]), texts, urgency),
                urgency,
                keep=False,
            )
            for place, result in zip(missing, results.value, strict=True):
                self._answers.keep(keys[place], result, epoch)
            return filled(found, results.value), in_turn(timings, results.timings)
        return filled(found, ()), timings

    async def reason(
        self,
        model: UsableModel,
        pipeline: StagedReasoningPipeline,
        pictures: Sequence[bytes],
        queries: Sequence[ReasoningQuery],
        urgency: Urgency,
    ) -> tuple[list[ReasoningResult], Timings]:
        """Whether each statement is true of two pictures, left and right.

        Raises:
            VlpError: the first error of any statement.
        """
        await self._check(queries, pipeline.check, urgency)
        digests, timings = await timed_digests(pictures, self._pool, urgency, self._clock)
        key = functools.partial(self._answers.key, digests, model.loaded.digest)
        found: list[ReasoningResult | None] = [self._answers.look_up(key(query)) for query in queries]
        missing = [query for query, result in zip(queries, found, strict=True) if result is None]
        timings = replace(timings, cached=len(queries) - len(missing))
        if missing:
            epoch = self._answers.epoch
            pairs = list(zip(pictures, digests, strict=True))
            seen = await all_or_first_error(pairs, lambda pair: self._states.vision(model, pipeline, *pair, urgency))
            left, right = (one.value for one in seen)

            async def answer(query: ReasoningQuery) -> Worked[ReasoningResult]:
                async def work() -> Worked[ReasoningResult]:
                    outputs = await self._run(model, lambda: pipeline.pair_item(left, right, query), urgency)
                    return Worked(pipeline.result(query, outputs.value), outputs.timings)

                return await self._answers.work_out(key(query), work, urgency, since=epoch)

            answers = await all_or_first_error(missing, answer)
            seeing, answering = (longest([one.timings for one in worked]) for worked in (seen, answers))
            return filled(found, (one.value for one in answers)), in_turn(timings, seeing, answering)
        return filled(found, ()), timings

    async def _judge(
        self,
        model: UsableModel,
        pipeline: StagedMatchPipeline,
        picture: tuple[bytes, str],
        texts: Sequence[str],
        urgency: Urgency,
    ) -> Worked[list[MatchResult]]:
        """By both scores; the texts' embeddings are made while the picture is seen."""

        async def see() -> tuple[NDArray[np.float32], Worked[States]]:
            async with model.room:
                vision = await self._states.vision(model, pipeline, *picture, urgency)
                cross = await self._states.cross(model, pipeline, *picture, urgency, seen=vision)
                outputs = await self._run(model, lambda: pipeline.fusion_item(cross.value, texts), urgency)
            timings = in_turn(vision.timings, cross.timings, outputs.timings)
            return pipeline.embedding(vision.value), Worked(outputs.value, timings)

        calls: list[Callable[[], Coroutine[Any, Any, Any]]] = [
            see,
            lambda: self._vectors.embed(model, pipeline, texts, urgency),
        ]
        (image_vector, judged), embedded = await all_or_first_error(calls, lambda call: call())
        similarities = [float(image_vector @ one.value.vector) for one in embedded]
        return Worked(pipeline.results(judged.value, similarities), judged.timings)

    async def _check(self, queries: Sequence[Q], check: Callable[[Q], None], urgency: Urgency) -> None:
        """Texts are read in a thread: they may be long, and many."""

        def check_all() -> None:
            for query in queries:
                check(query)

        await self._pool.run(check_all, lane=urgency.lane, deadline=urgency.deadline)

    async def _run(self, model: UsableModel, make: Callable[[], Item], urgency: Urgency) -> Worked[States]:
        ran = await self._pool.run(make, lane=urgency.lane, deadline=urgency.deadline)
        computed = await model.compute(ran.value, urgency)
        return Worked(computed.outputs, in_turn(ran.timings, computed.timings(postprocess_s=0.0)))
