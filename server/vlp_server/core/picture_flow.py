"""The life of questions about pictures behind admission: cache, preprocessing or regions, queue, engine, answers.

The same for every task that joins one picture, or two, with a text and runs all through one graph.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from numpy.typing import NDArray
from vlp_pipeline.pipeline import Item, MatchPipeline, PreparedImage, RegionReader
from vlp_pipeline.regions import Regions
from vlp_spec.errors import InvalidArgumentError, TooLargeError
from vlp_spec.tasks import MatchQuery, MatchResult

from vlp_server.core.answer_cache import AnswerCache, filled
from vlp_server.core.content_digest import content_digest
from vlp_server.core.fan_out import all_or_first_error
from vlp_server.core.metrics import Metrics
from vlp_server.core.preprocess_pool import PreprocessPool
from vlp_server.core.records import Timings, in_turn, longest
from vlp_server.core.region_flow import RegionFlow
from vlp_server.core.settings import CacheSettings
from vlp_server.core.shared_work import Key, SharedWork, Worked
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel

Q = TypeVar("Q")
R = TypeVar("R")
Query_contra = TypeVar("Query_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)
Picture = bytes | Regions
"""An encoded picture, or what somebody has found in it already."""
_MS = 1000.0


class PixelReader(Protocol):
    """The part of a pipeline that takes pictures as such."""

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode and process a picture file."""


def picture_fault(picture: Picture, max_bytes: int) -> TooLargeError | None:
    """Why an encoded picture is not taken; None where its size is within the limit. Regions have their own limits."""
    if isinstance(picture, Regions) or len(picture) <= max_bytes:
        return None
    return TooLargeError(f"image: {len(picture)} bytes, this server reads at most {max_bytes}; send fewer")


class QueryPipeline(Protocol[Query_contra, Result_co]):
    """The part of a pipeline that a flow needs, whatever is asked; see VqaPipeline."""

    def prepare(self, images: Sequence[PreparedImage], query: Query_contra, /) -> Item:
        """Join pictures and a query."""

    def result(self, query: Query_contra, outputs: Mapping[str, NDArray[Any]], /) -> Result_co:
        """The answer from one row of outputs."""


@dataclass(frozen=True, slots=True)
class Asking(Generic[Q, R]):
    """A pipeline whose `prepare` takes its pictures one by one, and a query, as a QueryPipeline."""

    pipeline: Any

    def prepare(self, images: Sequence[PreparedImage], query: Q, /) -> Item:
        """See QueryPipeline."""
        item: Item = self.pipeline.prepare(*images, query)
        return item

    def result(self, query: Q, outputs: Mapping[str, NDArray[Any]], /) -> R:
        """See QueryPipeline."""
        result: R = self.pipeline.result(query, outputs)
        return result


@dataclass(frozen=True, slots=True)
class Matching:
    """A MatchPipeline as a QueryPipeline."""

    pipeline: MatchPipeline

    def prepare(self, images: Sequence[PreparedImage], query: MatchQuery, /) -> Item:
        """See QueryPipeline."""
        (image,) = images
        return self.pipeline.prepare(image, query.text)

    def result(self, query: MatchQuery, outputs: Mapping[str, NDArray[Any]], /) -> MatchResult:
        """See QueryPipeline."""
        return MatchResult(self.pipeline.score(outputs))


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture, or its regions in its place, and the digest of what was sent."""

    content: Picture
    digest: str


@dataclass(frozen=True, slots=True)
class _Call:
    """One request's model, pictures and rank."""

    model: UsableModel
    pipeline: QueryPipeline[Any, Any]
    pictures: tuple[_Picture, ...]
    urgency: Urgency

    def answer_key(self, query: object) -> Key:
        digests = [picture.digest for picture in self.pictures]
        return AnswerCache.key(digests, self.model.loaded.digest, query)


class PictureFlow:
    """Answers queries about pictures, doing no piece of work twice.

    Two layers are shared: prepared pictures (sha256 of the file, processor settings) and answers (sha256 of the file,
    sha256 of the model's manifest, the query). Models that read region features have a third one below: the regions of
    a picture.

    Args:
        answers: shared with other flows.
        extractor_for: gives the model that makes a pipeline's region features, to be used within the context.
    """

    def __init__(
        self,
        cache: CacheSettings,
        answers: AnswerCache,
        pool: PreprocessPool,
        metrics: Metrics,
        *,
        regions: RegionFlow,
        extractor_for: Callable[[RegionReader], AbstractContextManager[UsableModel]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._regions = regions
        self._extractor_for = extractor_for
        self._clock = clock
        self._answers = answers
        self._images: SharedWork[PreparedImage] = SharedWork(
            "image", cache.image_entries, cache.image_bytes, _image_bytes, metrics=metrics, clock=clock
        )

    async def answer(
        self,
        model: UsableModel,
        pipeline: QueryPipeline[Q, R],
        pictures: Sequence[Picture],
        queries: Sequence[Q],
        urgency: Urgency,
    ) -> tuple[list[R], Timings]:
        """Answer all queries about one picture, or about two; each is decoded at most once.

        Raises:
            VlpError: the first error of any query.
        """
        started = self._clock()
        call = _Call(model, pipeline, tuple([await self._digested(one, urgency) for one in pictures]), urgency)
        found: list[R | None] = [self._answers.look_up(call.answer_key(query)) for query in queries]
        cache_ms = (self._clock() - started) * _MS
        missing = [query for query, result in zip(queries, found, strict=True) if result is None]
        timings = Timings(cache_ms=cache_ms, cached=len(queries) - len(missing))
        if missing:
            answers, preparing = await self._answer_missing(call, missing)
            answering = longest([answer.timings for answer in answers])
            return filled(found, (one.value for one in answers)), in_turn(timings, preparing, answering)
        return filled(found, ()), timings

    async def _digested(self, picture: Picture, urgency: Urgency) -> _Picture:
        if isinstance(picture, Regions):
            ran = await self._pool.run(picture.digest, lane=urgency.lane, deadline=urgency.deadline)
            return _Picture(picture, ran.value)
        return _Picture(picture, await content_digest(picture, self._pool, urgency))

    async def _answer_missing(self, call: _Call, queries: Sequence[Any]) -> tuple[list[Worked[Any]], Timings]:
        epoch = self._answers.epoch
        prepared = await all_or_first_error(call.pictures, lambda picture: self._prepare(call, picture))
        images = [one.value for one in prepared]
        preparing = longest([one.timings for one in prepared])
        # All queries are tokenised in one go, so that they reach the queue together and can share a batch.
        ran = await self._pool.run(
            lambda: [call.pipeline.prepare(images, query) for query in queries],
            lane=call.urgency.lane,
            deadline=call.urgency.deadline,
        )

        async def shared(asked: tuple[Item, Any]) -> Worked[Any]:
            item, query = asked
            return await self._answers.work_out(
                call.answer_key(query), lambda: self._compute(call, query, item), call.urgency, since=epoch
            )

        answers = await all_or_first_error(list(zip(ran.value, queries, strict=True)), shared)
        return answers, in_turn(preparing, ran.timings)

    async def _prepare(self, call: _Call, picture: _Picture) -> Worked[PreparedImage]:
        loaded, key = call.model.loaded, (picture.digest, call.model.loaded.image_digest)
        if not hasattr(loaded.pipeline, "prepare_regions"):
            if isinstance(picture.content, Regions):
                raise InvalidArgumentError(f"model {loaded.label!r} reads pictures, not regions", field="regions")
            content, decode = picture.content, cast(PixelReader, loaded.pipeline).prepare_image
            return await self._prepared(key, lambda: decode(content), call.urgency)
        reader = cast(RegionReader, loaded.pipeline)
        if isinstance(picture.content, Regions):
            sent = picture.content
            return await self._prepared(key, lambda: reader.prepare_regions(sent), call.urgency)
        with self._extractor_for(reader) as extractor:
            found = await self._regions.find(extractor, picture.content, picture.digest, call.urgency)
        # The regions are kept; what is made of them costs a fraction of a millisecond.
        prepared = reader.prepare_regions(found.value.regions.first(reader.regions.max_regions))
        return Worked(prepared, found.timings)

    async def _prepared(
        self, key: Key, prepare: Callable[[], PreparedImage], urgency: Urgency
    ) -> Worked[PreparedImage]:
        cached = self._images.look_up(key)
        if cached is not None:
            return Worked(cached, Timings())

        async def work() -> Worked[PreparedImage]:
            ran = await self._pool.run(prepare, lane=urgency.lane, deadline=urgency.deadline)
            return Worked(ran.value, ran.timings)

        return await self._images.work_out(key, work, urgency)

    async def _compute(self, call: _Call, query: Any, item: Item) -> Worked[Any]:
        computed = await call.model.compute(item, call.urgency)
        started = self._clock()
        result = call.pipeline.result(query, computed.outputs)
        return Worked(result, computed.timings(postprocess_s=self._clock() - started))


def _image_bytes(_: Key, image: PreparedImage) -> int:
    return image.size_bytes
