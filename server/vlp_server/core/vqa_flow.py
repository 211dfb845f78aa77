"""The life of a VQA request behind admission: cache, preprocessing, queue, engine, answer."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from vlp_pipeline.pipeline import Item, PreparedImage
from vlp_spec.errors import DeadlineError
from vlp_spec.tasks import Lane, VqaQuery, VqaResult

from vlp_server.core.batcher import Batcher
from vlp_server.core.loading import LoadedModel
from vlp_server.core.lru_cache import LruCache
from vlp_server.core.metrics import Metrics
from vlp_server.core.preprocess_pool import PreprocessPool
from vlp_server.core.records import Timings, VqaReply
from vlp_server.core.settings import CacheSettings
from vlp_server.core.single_flight import SingleFlight

T = TypeVar("T")
_HASH_INLINE_BYTES = 256 * 1024
_ANSWER_BYTES = 120
_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Urgency:
    """How a request ranks among others: lane, and deadline on the flow's clock."""

    lane: Lane
    deadline: float


@dataclass(frozen=True, slots=True)
class _Answer:
    result: VqaResult
    timings: Timings


class VqaFlow:
    """Answers questions about pictures, doing no piece of work twice.

    Two layers of cache, each keyed by all that its value depends on, and each with one computation per key in flight:
    prepared pictures (sha256 of the file, processor settings) and answers (sha256 of the file, sha256 of the model's
    manifest, the query). Only successes are kept.
    """

    def __init__(
        self,
        cache: CacheSettings,
        pool: PreprocessPool,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._metrics = metrics
        self._clock = clock
        self._answers: LruCache[VqaResult] = LruCache(cache.answer_entries, cache.answer_bytes)
        self._images: LruCache[PreparedImage] = LruCache(cache.image_entries, cache.image_bytes)
        self._answer_flights: SingleFlight[_Answer] = SingleFlight()
        self._image_flights: SingleFlight[tuple[PreparedImage, Timings]] = SingleFlight()

    async def answer(
        self, model: LoadedModel, batcher: Batcher, image: bytes, queries: Sequence[VqaQuery], urgency: Urgency
    ) -> VqaReply:
        """Answer all queries about one picture; the picture is decoded at most once.

        Raises:
            VlpError: the first error of any query.
        """
        started = self._clock()
        digest = await self._digest(image, urgency)
        found = [self._look_up(model, digest, query) for query in queries]
        cache_ms = (self._clock() - started) * _MS
        missing = [query for query, result in zip(queries, found, strict=True) if result is None]
        timings = Timings(cache_ms=cache_ms, cached=len(queries) - len(missing))
        if missing:
            answers, preparing = await self._answer_missing(model, batcher, (digest, image), missing, urgency)
            timings = _merge([timings, preparing, *(answer.timings for answer in answers)])
            computed = iter(answers)
            found = [next(computed).result if result is None else result for result in found]
        return VqaReply(model.label, [result for result in found if result is not None], timings)

    def forget_answers(self, model_digest: str) -> int:
        """Drop every kept answer of a model that can no longer be trusted; says how many."""
        return self._answers.drop(lambda key: isinstance(key, tuple) and key[1] == model_digest)

    async def _answer_missing(
        self,
        model: LoadedModel,
        batcher: Batcher,
        picture: tuple[str, bytes],
        queries: Sequence[VqaQuery],
        urgency: Urgency,
    ) -> tuple[list[_Answer], Timings]:
        digest, image = picture
        prepared, decoding = await self._prepare_image(model, digest, image, urgency)
        # All questions are tokenised in one go, so that they reach the queue together and can share a batch.
        ran = await self._pool.run(
            lambda: [model.pipeline.prepare(prepared, query) for query in queries],
            lane=urgency.lane,
            deadline=urgency.deadline,
        )

        def shared(item: Item, query: VqaQuery) -> Coroutine[Any, Any, _Answer]:
            key = digest, model.digest, query, urgency.lane
            work = functools.partial(self._compute, model, batcher, (digest, query), item, urgency)
            return self._share(self._answer_flights, key, work, urgency)

        answers = await _all_or_first_error(
            [shared(item, query) for item, query in zip(ran.value, queries, strict=True)]
        )
        return answers, replace(
            decoding,
            queue_ms=decoding.queue_ms + ran.waited_s * _MS,
            preprocess_ms=decoding.preprocess_ms + ran.ran_s * _MS,
        )

    async def _prepare_image(
        self, model: LoadedModel, digest: str, image: bytes, urgency: Urgency
    ) -> tuple[PreparedImage, Timings]:
        key = digest, model.image_digest
        cached = self._images.get(key)
        if self._images.enabled:
            self._metrics.count_lookup("image", hit=cached is not None)
        if cached is not None:
            return cached, Timings()

        async def prepare() -> tuple[PreparedImage, Timings]:
            ran = await self._pool.run(
                lambda: model.pipeline.prepare_image(image), lane=urgency.lane, deadline=urgency.deadline
            )
            self._images.put(key, ran.value, ran.value.size_bytes)
            return ran.value, Timings(queue_ms=ran.waited_s * _MS, preprocess_ms=ran.ran_s * _MS)

        return await self._share(self._image_flights, (*key, urgency.lane), prepare, urgency)

    async def _compute(
        self, model: LoadedModel, batcher: Batcher, asked: tuple[str, VqaQuery], item: Item, urgency: Urgency
    ) -> _Answer:
        digest, query = asked
        computed = await batcher.submit(item, lane=urgency.lane, deadline=urgency.deadline)
        started = self._clock()
        result = model.pipeline.result(query, computed.outputs)
        self._answers.put((digest, model.digest, query), result, _size_bytes(query, result))
        timings = Timings(
            queue_ms=computed.queue_s * _MS,
            infer_ms=computed.infer_s * _MS,
            postprocess_ms=(self._clock() - started) * _MS,
            batch_items=computed.batch_items,
        )
        return _Answer(result, timings)

    async def _share(
        self,
        flights: SingleFlight[T],
        key: tuple[object, ...],
        work: Callable[[], Coroutine[Any, Any, T]],
        urgency: Urgency,
    ) -> T:
        """Join the work of a key, or do it. Work that was started by a hastier caller may run into that one's deadline;
        whoever still has time then starts it again.
        """
        while True:
            try:
                return await flights.run(key, work)
            except DeadlineError:
                if self._clock() >= urgency.deadline:
                    raise

    async def _digest(self, image: bytes, urgency: Urgency) -> str:
        if len(image) <= _HASH_INLINE_BYTES:
            return hashlib.sha256(image).hexdigest()
        ran = await self._pool.run(
            lambda: hashlib.sha256(image).hexdigest(), lane=urgency.lane, deadline=urgency.deadline
        )
        return ran.value

    def _look_up(self, model: LoadedModel, digest: str, query: VqaQuery) -> VqaResult | None:
        if not self._answers.enabled:
            return None
        result = self._answers.get((digest, model.digest, query))
        self._metrics.count_lookup("answer", hit=result is not None)
        return result


async def _all_or_first_error(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all at once; the first error cancels the others and is raised as it is."""
    if len(work) == 1:
        return [await work[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _merge(parts: Sequence[Timings]) -> Timings:
    """The longest of each stage: questions of one request run beside each other. Preprocessing comes before them all,
    so its waiting adds to theirs.
    """
    first, preparing, *answers = parts
    return Timings(
        queue_ms=preparing.queue_ms + max(part.queue_ms for part in answers),
        preprocess_ms=preparing.preprocess_ms,
        infer_ms=max(part.infer_ms for part in answers),
        postprocess_ms=max(part.postprocess_ms for part in answers),
        cache_ms=first.cache_ms,
        cached=first.cached,
        batch_items=max(part.batch_items for part in answers),
    )


def _size_bytes(query: VqaQuery, result: VqaResult) -> int:
    """Memory of a cached answer with its key, roughly; strings count four bytes a character at worst."""
    texts = [query.question, *(query.candidates or ()), *(answer.answer for answer in result.answers)]
    return sum(_ANSWER_BYTES + 4 * len(text) for text in texts)
