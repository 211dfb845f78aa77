"""Collections of pictures: vectors by a served encoder, kept in a store, searched by text, picture or vector.

The store blocks; every call to it is made in a thread. Reading and writing have threads of their own, so that a disk
that is slow to sync delays no search.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Generic, TypeVar, cast

import numpy as np
from vlp_pipeline.pipeline import EmbeddingPipeline
from vlp_spec.errors import (
    EncoderMismatchError,
    InvalidArgumentError,
    ItemNotFoundError,
    ModelNotFoundError,
    NoPicturesError,
    TooLargeError,
    UnavailableError,
    VlpError,
)
from vlp_spec.tasks import Lane, Task

from vlp_server.core.answer_flows import AnswerFlows
from vlp_server.core.collection_records import (
    AddReply,
    CollectionItem,
    CollectionSearch,
    CollectionWish,
    FoundItem,
    Rerank,
    SearchReply,
)
from vlp_server.core.directory import ModelDirectory
from vlp_server.core.embed_flow import PARALLEL_ITEMS, EmbedFlow
from vlp_server.core.fan_out import each_outcome
from vlp_server.core.picture_flow import picture_fault
from vlp_server.core.records import ModelState, Timings, longest
from vlp_server.core.request_life import FoundRequest, Request, RequestLife, Terms, check_task
from vlp_server.core.second_look import SecondLook
from vlp_server.core.served_model import ServedModel
from vlp_server.core.settings import CollectionSettings
from vlp_server.core.thread_team import ThreadTeam
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel
from vlp_server.index.store import (
    CollectionInfo,
    CollectionSpec,
    ItemResult,
    NewItem,
    SearchQuery,
    StoredItem,
    Vector,
    VectorStore,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")
CheckPicture = Callable[[bytes, Urgency], Awaitable[None]]
"""Refuses a picture that cannot be decoded."""
_CLOSE_S = 30.0
_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Flows:
    """What collections share with the other tasks of the service."""

    directory: ModelDirectory
    life: RequestLife
    embedding: EmbedFlow
    answers: AnswerFlows
    check_picture: CheckPicture
    max_image_bytes: int


class Collections:
    """Works on the collections of one store. Belongs to the event loop; constructing starts nothing.

    Args:
        store: open; closed by `close`.
        flows: of the service.
        settings: how many threads, and how often pictures without an item are swept.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        store: VectorStore,
        flows: Flows,
        settings: CollectionSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._flows = flows
        self._settings = settings
        self._clock = clock
        self._readers = ThreadTeam("store-reader", settings.reader_threads)
        self._writers = ThreadTeam("store-writer", settings.writer_threads)
        self._housekeeper = ThreadTeam("store-upkeep", 1)
        self._upkeep: asyncio.Task[None] | None = None
        self._additions: set[asyncio.Task[AddReply]] = set()
        self._second_look = SecondLook(store, self._readers, flows.answers)
        self._closed = False

    def start(self) -> None:
        """Read the indexes and sweep pictures in the background."""
        if self._upkeep is None:
            self._upkeep = asyncio.create_task(self._keep_up())

    async def close(self) -> None:
        """Finish what was begun and close the store; a disk that hangs is left after a while. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        for addition in self._additions:
            addition.cancel()
        await asyncio.gather(*self._additions, return_exceptions=True)
        try:
            async with asyncio.timeout(_CLOSE_S):
                for team in (self._readers, self._writers, self._housekeeper):
                    await team.finish()
                await self._housekeeper.run(self._store.close)
        except TimeoutError:
            logger.error("the store did not close within %g s; what it acknowledged is on disk", _CLOSE_S)
        for team in (self._readers, self._writers, self._housekeeper):
            team.close()

    async def create(self, wish: CollectionWish, *, deadline: float | None = None) -> CollectionInfo:
        """Make a collection for a served encoder; the same wish again changes nothing.

        Raises:
            InvalidArgumentError: a bad name.
            CollectionExistsError, EncoderMismatchError: there is another one of this name.
            VlpError: the model is not there, not ready, or no encoder; see `Service.embed`.
        """

        async def make(usable: UsableModel, _: Urgency) -> _Made:
            spec = CollectionSpec(
                name=wish.name,
                model=usable.loaded.label,
                encoder_digest=usable.loaded.encoder_digest,
                dimension=cast(EmbeddingPipeline, usable.loaded.pipeline).dimension,
                metric=wish.metric,
                store_images=wish.store_images,
                index=wish.index,
            )
            return _Made(await self._writers.run(lambda: self._store.create(spec)))

        def find() -> ServedModel:
            return self._flows.directory.find(wish.model, Task.EMBEDDINGS)

        request = Request("create_collection", Task.EMBEDDINGS, find, Terms(deadline=deadline))
        return (await self._flows.life.run(request, make)).info

    async def all(self, *, deadline: float | None = None) -> Sequence[CollectionInfo]:
        """All collections, by name."""
        return await self._alone("list_collections", self._readers, self._store.list, deadline)

    async def get(self, name: str, *, deadline: float | None = None) -> CollectionInfo:
        """A collection as it is now. Raises CollectionNotFoundError."""
        return await self._alone("get_collection", self._readers, lambda: self._store.get(name), deadline)

    async def drop(self, name: str, *, deadline: float | None = None) -> None:
        """Forget a collection with its items. Raises CollectionNotFoundError."""
        await self._alone("drop_collection", self._writers, lambda: self._store.drop(name), deadline)

    async def add(
        self, name: str, items: Sequence[CollectionItem], *, deadline: float | None = None, lane: Lane = Lane.BULK
    ) -> AddReply:
        """Embed and keep items, each with its own result; what is said to be kept is durable.

        An item that fails, or is not embedded by the deadline, hurts no other. What was begun is seen through to the
        deadline, whatever becomes of the caller, so that no picture is embedded for nothing.

        Raises:
            CollectionNotFoundError, EncoderMismatchError, StorageFullError: nothing was kept.
            TooLargeError: more items than one call may bring.
            VlpError: the encoder is not there or not ready, and an item needs it.
        """
        addition = asyncio.create_task(self._add(name, items, deadline, lane))
        self._additions.add(addition)
        addition.add_done_callback(self._forget_addition)
        return await asyncio.shield(addition)

    async def _add(self, name: str, items: Sequence[CollectionItem], deadline: float | None, lane: Lane) -> AddReply:
        size = sum(len(item.picture) for item in items if item.picture is not None)
        terms = Terms(size_bytes=size, deadline=deadline, lane=lane, bounded=False)
        if not any(item.picture is not None and item.vector is None for item in items):

            async def check_and_keep(urgency: Urgency) -> AddReply:
                # The work may outlast its deadline, this must not.
                async with asyncio.timeout(max(0.0, urgency.deadline - self._clock())):
                    spec = await self._spec(name)
                return await self._keep(spec, items, await self._given_vectors(items, urgency), Timings())

            return await self._flows.life.run_without_model("add_items", terms, check_and_keep)

        async def embed_and_keep(usable: UsableModel, spec: CollectionSpec, urgency: Urgency) -> AddReply:
            vectors, timings = await self._vectors(usable, items, urgency)
            return await self._keep(spec, items, vectors, timings)

        request = FoundRequest("add_items", Task.EMBEDDINGS, lambda: self._encoder_of(name), terms)
        return await self._flows.life.run_with_found(request, embed_and_keep)

    def _forget_addition(self, addition: asyncio.Task[AddReply]) -> None:
        self._additions.discard(addition)
        if not addition.cancelled():
            addition.exception()  # seen, even when the caller has left

    async def known(self, name: str, ids: Sequence[str], *, deadline: float | None = None) -> dict[str, str | None]:
        """Those of the ids that are there, with the digests of their pictures."""
        return await self._alone("lookup_items", self._readers, lambda: self._store.known(name, ids), deadline)

    async def get_item(self, name: str, item_id: str, *, deadline: float | None = None) -> StoredItem:
        """An item. Raises CollectionNotFoundError or ItemNotFoundError."""
        return await self._alone("get_item", self._readers, lambda: self._store.get_item(name, item_id), deadline)

    async def delete_item(self, name: str, item_id: str, *, deadline: float | None = None) -> bool:
        """Forget an item; False when there was none."""
        return await self._alone("delete_item", self._writers, lambda: self._store.delete_item(name, item_id), deadline)

    async def read_picture(self, name: str, item_id: str, *, deadline: float | None = None) -> tuple[bytes, str]:
        """An item's picture and its sha256.

        Raises:
            NoPicturesError: the collection keeps none.
            ItemNotFoundError: no such item, or it came without a picture.
        """

        def read() -> tuple[bytes, str]:
            item = self._store.get_item(name, item_id)
            if item.picture_digest is None:
                raise ItemNotFoundError(f"item {item_id[:64]!r} of collection {name!r} has no picture")
            return self._store.read_picture(name, item.picture_digest), item.picture_digest

        return await self._alone("read_picture", self._readers, read, deadline)

    async def search(self, name: str, ask: CollectionSearch, *, deadline: float | None = None) -> SearchReply:
        """Find the nearest items, and look at the first ones again where that is wished.

        Raises:
            CollectionNotFoundError: no such collection.
            EncoderMismatchError: its encoder is not the one that is served now.
            NoPicturesError: re-ranking without kept pictures.
            InvalidArgumentError: nothing or several things to search by; k, filter, effort or vector out of range.
            VlpError: the encoder or the re-ranker is not there or not ready; see `Service.embed`.
        """
        _check_search(ask, self._settings)
        terms = Terms(size_bytes=len(ask.picture or b""), deadline=deadline)
        if (vector := ask.vector) is not None:

            async def find_nearest(urgency: Urgency) -> SearchReply:
                return await self._find(await self._spec(name), ask, vector, Timings(), urgency)

            return await self._flows.life.run_without_model("search", terms, find_nearest)

        async def embed_and_find(usable: UsableModel, spec: CollectionSpec, urgency: Urgency) -> SearchReply:
            _check_pictures_kept(spec, ask)
            pipeline = cast(EmbeddingPipeline, usable.loaded.pipeline)
            source = ask.picture if ask.picture is not None else cast(str, ask.text)
            (worked,) = await self._flows.embedding.embed(usable, pipeline, [source], urgency)
            return await self._find(spec, ask, worked.value.vector, worked.timings, urgency)

        async def find() -> tuple[ServedModel, CollectionSpec]:
            if fault := self._picture_fault(ask.picture):
                raise fault
            return await self._encoder_of(name)

        request = FoundRequest("search", Task.EMBEDDINGS, find, terms)
        return await self._flows.life.run_with_found(request, embed_and_find)

    async def _find(
        self, spec: CollectionSpec, ask: CollectionSearch, vector: Vector, timings: Timings, urgency: Urgency
    ) -> SearchReply:
        query = SearchQuery(
            vector=vector,
            k=ask.k if ask.rerank is None else max(ask.k, ask.rerank.k),
            filter=ask.filter,
            effort=ask.effort,
            encoder_digest=spec.encoder_digest,
        )
        with self._reranker(ask.rerank) as reranker:
            started = self._clock()
            hits = await self._readers.run(lambda: self._store.search(spec.name, query))
            timings = replace(timings, store_ms=(self._clock() - started) * _MS)
            found = [FoundItem(hit) for hit in hits]
            if ask.rerank is None or reranker is None or ask.text is None:
                return SearchReply(spec.model, spec.encoder_digest, found[: ask.k], timings)
            started = self._clock()
            first = hits[: ask.rerank.k]
            seen = await self._second_look.rerank(spec.name, first, ask.text, reranker, urgency)
            timings = replace(timings, rerank_ms=(self._clock() - started) * _MS)
            found = [*seen, *found[len(first) :]][: ask.k]
            return SearchReply(spec.model, spec.encoder_digest, found, timings, reranker.loaded.label)

    @contextmanager
    def _reranker(self, rerank: Rerank | None) -> Iterator[UsableModel | None]:
        if rerank is None:
            yield None
            return
        with self._flows.directory.find(rerank.model, Task.MATCH).use() as usable:
            check_task(usable, Task.MATCH)
            yield usable

    async def _vectors(
        self, usable: UsableModel, items: Sequence[CollectionItem], urgency: Urgency
    ) -> tuple[list[Vector | VlpError | None], Timings]:
        """Each item's vector: its own, or its picture's, or why there is none."""
        vectors = await self._given_vectors(items, urgency)
        wanted = [index for index, item in enumerate(items) if item.picture is not None and vectors[index] is None]
        pictures = [cast(bytes, items[index].picture) for index in wanted]
        pipeline = cast(EmbeddingPipeline, usable.loaded.pipeline)
        outcomes = await self._flows.embedding.embed_each(usable, pipeline, pictures, urgency)
        for index, outcome in zip(wanted, outcomes, strict=True):
            vectors[index] = outcome if isinstance(outcome, VlpError) else outcome.value.vector
        return vectors, longest([outcome.timings for outcome in outcomes if not isinstance(outcome, VlpError)])

    async def _given_vectors(self, items: Sequence[CollectionItem], urgency: Urgency) -> list[Vector | VlpError | None]:
        """The vectors that items bring, or what is wrong with their pictures; None where a picture is to be embedded.

        A picture beside a vector is decoded too: it would be looked at again by every search that is re-ranked.
        """

        async def given(item: CollectionItem) -> Vector | VlpError | None:
            if fault := self._picture_fault(item.picture):
                return fault
            if item.vector is not None and item.picture is not None:
                await self._flows.check_picture(item.picture, urgency)
            return item.vector

        return await each_outcome(items, given, PARALLEL_ITEMS)

    async def _keep(
        self,
        spec: CollectionSpec,
        items: Sequence[CollectionItem],
        vectors: Sequence[Vector | VlpError | None],
        timings: Timings,
    ) -> AddReply:
        results: list[ItemResult | None] = [None] * len(items)
        ready: list[int] = []
        new: list[NewItem] = []
        for index, (item, vector) in enumerate(zip(items, vectors, strict=True)):
            if vector is None:
                vector = InvalidArgumentError("an item needs a picture or a vector", field="items")
            if isinstance(vector, VlpError):
                results[index] = ItemResult(item.id, "failed", vector)
                continue
            ready.append(index)
            new.append(
                NewItem(
                    id=item.id,
                    vector=np.asarray(vector, dtype=np.float32),
                    metadata=item.metadata,
                    picture=item.picture,
                )
            )
        started = self._clock()
        if new:
            kept = await self._writers.run(
                lambda: self._store.upsert(spec.name, new, encoder_digest=spec.encoder_digest)
            )
            for index, result in zip(ready, kept, strict=True):
                results[index] = result
        timings = replace(timings, store_ms=(self._clock() - started) * _MS)
        return AddReply(spec.model, spec.encoder_digest, [result for result in results if result], timings)

    def _encoder(self, spec: CollectionSpec) -> ServedModel:
        """The served model whose encoder made a collection's vectors."""
        directory = self._flows.directory
        if (same := directory.with_encoder(spec.encoder_digest)) is not None:
            return same
        if any(model.state is ModelState.LOADING for model in directory):  # it may be one of these
            raise UnavailableError("models are loading; ask again", retry_after_s=2.0)
        try:
            named = directory.find(spec.model.partition("@")[0])
        except ModelNotFoundError:
            raise EncoderMismatchError(
                f"collection {spec.name!r} has vectors of {spec.model}, which this server does not serve; serve it, or "
                "embed the collection anew with another model"
            ) from None
        if named.loaded is None:
            return named  # it failed: its state says what is the matter
        raise EncoderMismatchError(
            f"collection {spec.name!r} has vectors of the encoder {spec.encoder_digest[:12]} ({spec.model}); the "
            f"{named.label} that is served now is the encoder {named.loaded.encoder_digest[:12]}"
        )

    def _picture_fault(self, picture: bytes | None) -> TooLargeError | None:
        return None if picture is None else picture_fault(picture, self._flows.max_image_bytes)

    async def _spec(self, name: str) -> CollectionSpec:
        """What a collection is; read inside a request that was let in."""
        return await self._readers.run(lambda: self._store.spec(name))

    async def _encoder_of(self, name: str) -> tuple[ServedModel, CollectionSpec]:
        spec = await self._spec(name)
        return self._encoder(spec), spec

    async def _alone(self, operation: str, team: ThreadTeam, call: Callable[[], T], deadline: float | None) -> T:
        """A call to the store that needs no model, let in and counted like every request."""

        async def work(_: Urgency) -> _Done[T]:
            return _Done(await team.run(call))

        return (await self._flows.life.run_without_model(operation, Terms(deadline=deadline), work)).value

    async def _keep_up(self) -> None:
        try:
            await self._housekeeper.run(self._store.warm)
        except Exception:
            logger.exception("the indexes could not be read ahead; searches will read them")
        while True:
            try:
                removed = await self._housekeeper.run(self._store.sweep_pictures)
            except Exception:
                logger.exception("pictures could not be swept; they will be the next time")
            else:
                if removed:
                    logger.info("removed %d pictures that no item refers to", removed)
            await asyncio.sleep(self._settings.sweep_interval_s)


@dataclass(frozen=True, slots=True)
class _Made:
    """A collection as the reply of a request."""

    info: CollectionInfo
    timings: Timings = Timings()


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    """What a call to the store gave, as the reply of a request."""

    value: T
    timings: Timings = Timings()


def _check_pictures_kept(spec: CollectionSpec, ask: CollectionSearch) -> None:
    if ask.rerank is not None and not spec.store_images:
        raise NoPicturesError(
            f"collection {spec.name!r} keeps no pictures, which re-ranking looks at; create one with store_images"
        )


def _check_search(ask: CollectionSearch, settings: CollectionSettings) -> None:
    given = [name for name in ("text", "picture", "vector") if getattr(ask, name) is not None]
    if len(given) != 1:
        what = " and ".join(given) if given else "nothing"
        raise InvalidArgumentError(f"got {what}; search by one of text, image and vector", field="text")
    if ask.k < 1:
        raise InvalidArgumentError(f"k: got {ask.k}, expected 1 or more", field="k")
    if ask.text is not None and not ask.text.strip():
        raise InvalidArgumentError("text: empty; say what to search for", field="text")
    if ask.rerank is None:
        return
    if ask.text is None:
        raise InvalidArgumentError("rerank: needs a text, which it holds against each picture", field="rerank")
    if not 1 <= ask.rerank.k <= settings.max_rerank:
        raise InvalidArgumentError(
            f"rerank.k: got {ask.rerank.k}, expected 1 to {settings.max_rerank}", field="rerank.k"
        )
