"""The life of questions about one picture behind admission: cache, preprocessing, queue, engine, answers.

The same for every task that pairs a picture with a text and runs both through one graph: VQA, matching.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray
from vlp_pipeline.pipeline import Item, MatchPipeline, PreparedImage
from vlp_spec.errors import TooLargeError
from vlp_spec.tasks import MatchQuery, MatchResult, VqaQuery, VqaResult

from vlp_server.core.content_digest import content_digest
from vlp_server.core.fan_out import all_or_first_error
from vlp_server.core.metrics import Metrics
from vlp_server.core.preprocess_pool import PreprocessPool
from vlp_server.core.records import Timings, longest
from vlp_server.core.settings import CacheSettings
from vlp_server.core.shared_work import Key, SharedWork, Worked
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel

Q = TypeVar("Q", VqaQuery, MatchQuery)
R = TypeVar("R", VqaResult, MatchResult)
Query_contra = TypeVar("Query_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)
_ANSWER_BYTES = 120
_MS = 1000.0


def picture_fault(picture: bytes, max_bytes: int) -> TooLargeError | None:
    """Why an encoded picture is not taken; None where its size is within the limit."""
    if len(picture) <= max_bytes:
        return None
    return TooLargeError(f"image: {len(picture)} bytes, this server reads at most {max_bytes}; send fewer")


class PairPipeline(Protocol[Query_contra, Result_co]):
    """The part of a pipeline that a flow needs; see VqaPipeline."""

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode and process a picture file."""

    def prepare(self, image: PreparedImage, query: Query_contra, /) -> Item:
        """Join a picture and a query."""

    def result(self, query: Query_contra, outputs: Mapping[str, NDArray[Any]], /) -> Result_co:
        """The answer from one row of outputs."""


@dataclass(frozen=True, slots=True)
class MatchPairs:
    """A MatchPipeline as a PairPipeline."""

    pipeline: MatchPipeline

    def prepare_image(self, data: bytes) -> PreparedImage:
        """See PairPipeline."""
        return self.pipeline.prepare_image(data)

    def prepare(self, image: PreparedImage, query: MatchQuery, /) -> Item:
        """See PairPipeline."""
        return self.pipeline.prepare(image, query.text)

    def result(self, query: MatchQuery, outputs: Mapping[str, NDArray[Any]], /) -> MatchResult:
        """See PairPipeline."""
        return MatchResult(self.pipeline.score(outputs))


@dataclass(frozen=True, slots=True)
class _Call:
    """One request's model, picture and rank."""

    model: UsableModel
    pipeline: PairPipeline[Any, Any]
    image: bytes
    digest: str
    urgency: Urgency

    def answer_key(self, query: object) -> Key:
        return self.digest, self.model.loaded.digest, query

    def image_key(self) -> Key:
        return self.digest, self.model.loaded.image_digest


class PictureFlow:
    """Answers queries about pictures, doing no piece of work twice.

    Two layers are shared: prepared pictures (sha256 of the file, processor settings) and answers (sha256 of the file,
    sha256 of the model's manifest, the query).
    """

    def __init__(
        self,
        cache: CacheSettings,
        pool: PreprocessPool,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._answers: SharedWork[Any] = SharedWork(
            "answer", cache.answer_entries, cache.answer_bytes, _answer_bytes, metrics=metrics, clock=clock
        )
        self._images: SharedWork[PreparedImage] = SharedWork(
            "image", cache.image_entries, cache.image_bytes, _image_bytes, metrics=metrics, clock=clock
        )

    async def answer(
        self,
        model: UsableModel,
        pipeline: PairPipeline[Q, R],
        image: bytes,
        queries: Sequence[Q],
        urgency: Urgency,
    ) -> tuple[list[R], Timings]:
        """Answer all queries about one picture; the picture is decoded at most once.

        Raises:
            VlpError: the first error of any query.
        """
        started = self._clock()
        call = _Call(model, pipeline, image, await content_digest(image, self._pool, urgency), urgency)
        found: list[R | None] = [self._answers.look_up(call.answer_key(query)) for query in queries]
        cache_ms = (self._clock() - started) * _MS
        missing = [query for query, result in zip(queries, found, strict=True) if result is None]
        timings = Timings(cache_ms=cache_ms, cached=len(queries) - len(missing))
        if missing:
            answers, preparing = await self._answer_missing(call, missing)
            answering = longest([answer.timings for answer in answers])
            timings = replace(
                answering,
                # Preprocessing comes before all queries, so its waiting adds to theirs.
                queue_ms=preparing.queue_ms + answering.queue_ms,
                preprocess_ms=preparing.preprocess_ms,
                cache_ms=timings.cache_ms,
                cached=timings.cached,
            )
            computed = iter(answers)
            found = [next(computed).value if result is None else result for result in found]
        return [result for result in found if result is not None], timings

    def forget_answers(self, model_digest: str) -> int:
        """Drop every kept answer of a model that can no longer be trusted; says how many."""
        return self._answers.forget(lambda key: key[1] == model_digest)

    async def _answer_missing(self, call: _Call, queries: Sequence[Any]) -> tuple[list[Worked[Any]], Timings]:
        prepared = await self._prepare_image(call)
        # All queries are tokenised in one go, so that they reach the queue together and can share a batch.
        ran = await self._pool.run(
            lambda: [call.pipeline.prepare(prepared.value, query) for query in queries],
            lane=call.urgency.lane,
            deadline=call.urgency.deadline,
        )

        async def shared(asked: tuple[Item, Any]) -> Worked[Any]:
            item, query = asked
            return await self._answers.work_out(
                call.answer_key(query), lambda: self._compute(call, query, item), call.urgency
            )

        answers = await all_or_first_error(list(zip(ran.value, queries, strict=True)), shared)
        return answers, replace(
            prepared.timings,
            queue_ms=prepared.timings.queue_ms + ran.waited_s * _MS,
            preprocess_ms=prepared.timings.preprocess_ms + ran.ran_s * _MS,
        )

    async def _prepare_image(self, call: _Call) -> Worked[PreparedImage]:
        cached = self._images.look_up(call.image_key())
        if cached is not None:
            return Worked(cached, Timings())

        async def prepare() -> Worked[PreparedImage]:
            ran = await self._pool.run(
                lambda: call.pipeline.prepare_image(call.image),
                lane=call.urgency.lane,
                deadline=call.urgency.deadline,
            )
            return Worked(ran.value, Timings(queue_ms=ran.waited_s * _MS, preprocess_ms=ran.ran_s * _MS))

        return await self._images.work_out(call.image_key(), prepare, call.urgency)

    async def _compute(self, call: _Call, query: Any, item: Item) -> Worked[Any]:
        computed = await call.model.compute(item, call.urgency)
        started = self._clock()
        result = call.pipeline.result(query, computed.outputs)
        return Worked(result, computed.timings(postprocess_s=self._clock() - started))


def _image_bytes(_: Key, image: PreparedImage) -> int:
    return image.size_bytes


def _answer_bytes(key: Key, result: VqaResult | MatchResult) -> int:
    """Memory of a cached answer with its key, roughly; strings count four bytes a character at worst."""
    query = key[-1]
    texts = [query.text] if isinstance(query, MatchQuery) else []
    if isinstance(query, VqaQuery) and isinstance(result, VqaResult):
        texts = [query.question, *(query.candidates or ()), *(answer.answer for answer in result.answers)]
    return sum(_ANSWER_BYTES + 4 * len(text) for text in texts)
