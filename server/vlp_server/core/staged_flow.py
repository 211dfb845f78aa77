"""The life of judgements by models that see each picture by itself, once, and read texts in view of what they saw."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from vlp_pipeline.generative import StagedMatchPipeline, StagedReasoningPipeline
from vlp_pipeline.pipeline import Item
from vlp_spec.tasks import MatchQuery, MatchResult, ReasoningQuery, ReasoningResult

from vlp_server.core.answer_cache import AnswerCache
from vlp_server.core.content_digest import content_digest
from vlp_server.core.embed_flow import EmbedFlow
from vlp_server.core.fan_out import all_or_first_error
from vlp_server.core.preprocess_pool import PreprocessPool
from vlp_server.core.records import Timings, in_turn, longest
from vlp_server.core.shared_work import Key, Worked
from vlp_server.core.states_flow import States, StatesFlow
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel

Q = TypeVar("Q")
_MS = 1000.0


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
        digest, timings = await self._digest([picture], urgency)
        keys: list[Key] = [(digest, model.loaded.digest, query) for query in queries]
        found: list[MatchResult | None] = [self._answers.look_up(key) for key in keys]
        missing = [place for place, result in enumerate(found) if result is None]
        timings = replace(timings, cached=len(queries) - len(missing))
        if missing:
            epoch = self._answers.epoch
            texts = tuple(queries[place].text for place in missing)
            # Those who ask the same at the same time share the work; each answer is kept by itself.
            results = await self._answers.work_out(
                (digest, model.loaded.digest, texts),
                lambda: self._judge(model, pipeline, (picture, digest[0]), texts, urgency),
                urgency,
                keep=False,
            )
            for place, result in zip(missing, results.value, strict=True):
                found[place] = result
                self._answers.keep(keys[place], result, epoch)
            timings = in_turn(timings, results.timings)
        return [result for result in found if result is not None], timings

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
        digests, timings = await self._digest(pictures, urgency)
        found: list[ReasoningResult | None] = [
            self._answers.look_up((digests, model.loaded.digest, query)) for query in queries
        ]
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

                return await self._answers.work_out((digests, model.loaded.digest, query), work, urgency, since=epoch)

            answers = await all_or_first_error(missing, answer)
            computed = iter(answers)
            found = [next(computed).value if result is None else result for result in found]
            seeing = longest([one.timings for one in seen])
            timings = in_turn(timings, seeing, longest([one.timings for one in answers]))
        return [result for result in found if result is not None], timings

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
        preparing = Timings(queue_ms=ran.waited_s * _MS, preprocess_ms=ran.ran_s * _MS)
        return Worked(computed.outputs, in_turn(preparing, computed.timings(postprocess_s=0.0)))

    async def _digest(self, pictures: Sequence[bytes], urgency: Urgency) -> tuple[tuple[str, ...], Timings]:
        started = self._clock()
        digests = tuple([await content_digest(picture, self._pool, urgency) for picture in pictures])
        return digests, Timings(cache_ms=(self._clock() - started) * _MS)
