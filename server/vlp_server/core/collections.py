"""Collections of pictures: vectors by a served encoder, kept in a store, searched by text, picture or vector.

The store blocks; every call to it is made in a thread. Reading and writing have threads of their own, so that a disk
that is slow to sync delays no search.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import numpy as np
from vlp_pipeline.pipeline import EmbeddingPipeline, MatchPipeline
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
from vlp_spec.tasks import Lane, MatchQuery, MatchResult, Task

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
from vlp_server.core.embed_flow import EmbedFlow
from vlp_server.core.fan_out import all_or_first_error
from vlp_server.core.picture_flow import MatchPairs, PictureFlow
from vlp_server.core.records import ModelState, Timings, longest
from vlp_server.core.request_life import Request, RequestLife, Terms, check_task
from vlp_server.core.served_model import ServedModel
from vlp_server.core.settings import CollectionSettings
from vlp_server.core.thread_team import ThreadTeam
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel
from vlp_server.index.store import (
    CollectionInfo,
    CollectionSpec,
    Hit,
    ItemResult,
    NewItem,
    SearchQuery,
    StoredItem,
    Vector,
    VectorStore,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")
_MS = 1000.0
# Looked at again at a time by one search; more would push other callers' items back.
_RERANKED_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Flows:
    """What collections share with the other tasks of the service."""

    directory: ModelDirectory
    life: RequestLife
    embedding: EmbedFlow
    pictures: PictureFlow
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
        self._upkeep: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Read the indexes and sweep pictures in the background."""
        if self._upkeep is None:
            self._upkeep = asyncio.create_task(self._keep_up())

    async def close(self) -> None:
        """Finish what was begun and close the store. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        self._readers.close()
        self._writers.close()
        await asyncio.to_thread(self._store.close)

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
            return _Made(await self._write(lambda: self._store.create(spec)))

        def find() -> ServedModel:
            return self._flows.directory.find(wish.model, Task.EMBEDDINGS)

        request = Request("create_collection", Task.EMBEDDINGS, find, Terms(deadline=deadline))
        return (await self._flows.life.run(request, make)).info

    async def all(self) -> Sequence[CollectionInfo]:
        """All collections, by name."""
        return await self._read(self._store.list)

    async def get(self, name: str) -> CollectionInfo:
        """A collection as it is now. Raises CollectionNotFoundError."""
        return await self._read(lambda: self._store.get(name))

    async def drop(self, name: str) -> None:
        """Forget a collection with its items. Raises CollectionNotFoundError."""
        await self._write(lambda: self._store.drop(name))

    async def add(
        self, name: str, items: Sequence[CollectionItem], *, deadline: float | None = None, lane: Lane = Lane.BULK
    ) -> AddReply:
        """Embed and keep items, each with its own result; what is said to be kept is durable.

        An item that fails, or is not embedded by the deadline, hurts no other. Once items are on their way to the disk
        they are seen through, whatever becomes of the caller.

        Raises:
            CollectionNotFoundError, EncoderMismatchError, StorageFullError: nothing was kept.
            TooLargeError: more items than one call may bring.
            VlpError: the encoder is not there or not ready, and an item needs it.
        """
        spec = await self._read(lambda: self._store.spec(name))
        if not any(item.picture is not None and item.vector is None for item in items):

            async def keep(_: Urgency) -> AddReply:
                return await self._keep(spec, items, [item.vector for item in items], Timings())

            return await self._flows.life.run_without_model(keep, deadline=deadline, bounded=False)

        async def embed_and_keep(usable: UsableModel, urgency: Urgency) -> AddReply:
            vectors, timings = await self._vectors(usable, items, urgency)
            return await self._keep(spec, items, vectors, timings)

        size = sum(len(item.picture) for item in items if item.picture is not None)
        terms = Terms(size_bytes=size, deadline=deadline, lane=lane, bounded=False)
        request = Request("add_items", Task.EMBEDDINGS, lambda: self._encoder(spec), terms)
        return await self._flows.life.run(request, embed_and_keep)

    async def known(self, name: str, ids: Sequence[str]) -> dict[str, str | None]:
        """Those of the ids that are there, with the digests of their pictures."""
        return await self._read(lambda: self._store.known(name, ids))

    async def get_item(self, name: str, item_id: str) -> StoredItem:
        """An item. Raises CollectionNotFoundError or ItemNotFoundError."""
        return await self._read(lambda: self._store.get_item(name, item_id))

    async def delete_item(self, name: str, item_id: str) -> bool:
        """Forget an item; False when there was none."""
        return await self._write(lambda: self._store.delete_item(name, item_id))

    async def read_picture(self, name: str, item_id: str) -> tuple[bytes, str]:
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

        return await self._read(read)

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
        spec = await self._read(lambda: self._store.spec(name))
        if ask.rerank is not None and not spec.store_images:
            raise NoPicturesError(
                f"collection {name!r} keeps no pictures, which re-ranking looks at; create one with store_images"
            )

        if (vector := ask.vector) is not None:

            async def find_nearest(urgency: Urgency) -> SearchReply:
                return await self._find(spec, ask, vector, Timings(), urgency)

            return await self._flows.life.run_without_model(find_nearest, deadline=deadline)

        async def embed_and_find(usable: UsableModel, urgency: Urgency) -> SearchReply:
            pipeline = cast(EmbeddingPipeline, usable.loaded.pipeline)
            source = ask.picture if ask.picture is not None else cast(str, ask.text)
            (worked,) = await self._flows.embedding.embed(usable, pipeline, [source], urgency)
            return await self._find(spec, ask, worked.value.vector, worked.timings, urgency)

        def check() -> None:
            if fault := self._picture_fault(ask.picture):
                raise fault

        terms = Terms(size_bytes=len(ask.picture or b""), deadline=deadline)
        request = Request("search", Task.EMBEDDINGS, lambda: self._encoder(spec), terms, check)
        return await self._flows.life.run(request, embed_and_find)

    async def _find(
        self, spec: CollectionSpec, ask: CollectionSearch, vector: Vector, timings: Timings, urgency: Urgency
    ) -> SearchReply:
        reranker = None if ask.rerank is None else self._reranker(ask.rerank)
        query = SearchQuery(
            vector=vector,
            k=ask.k if ask.rerank is None else max(ask.k, ask.rerank.k),
            filter=ask.filter,
            effort=ask.effort,
            encoder_digest=spec.encoder_digest,
        )
        started = self._clock()
        hits = await self._read(lambda: self._store.search(spec.name, query))
        timings = replace(timings, store_ms=(self._clock() - started) * _MS)
        found = [FoundItem(hit) for hit in hits]
        if ask.rerank is None or reranker is None or ask.text is None:
            return SearchReply(spec.model, spec.encoder_digest, found[: ask.k], timings)
        started = self._clock()
        first = hits[: ask.rerank.k]
        found = [*await self._rerank(spec.name, first, ask.text, reranker, urgency), *found[len(first) :]]
        timings = replace(timings, rerank_ms=(self._clock() - started) * _MS)
        return SearchReply(spec.model, spec.encoder_digest, found[: ask.k], timings, reranker.loaded.label)

    async def _rerank(
        self, name: str, hits: Sequence[Hit], text: str, reranker: UsableModel, urgency: Urgency
    ) -> list[FoundItem]:
        """The hits by how well text and picture fit; those without a picture stay behind, in their order."""
        pairs, query = MatchPairs(cast(MatchPipeline, reranker.loaded.pipeline)), MatchQuery(text)

        async def look(hit: Hit) -> FoundItem:
            picture = await self._picture_of(name, hit)
            if picture is None:
                return FoundItem(hit)
            results: list[MatchResult]
            results, _ = await self._flows.pictures.answer(reranker, pairs, picture, [query], urgency)
            return FoundItem(hit, results[0].score)

        seen = await all_or_first_error(hits, look, _RERANKED_AT_ONCE)
        return sorted(seen, key=lambda item: -1.0 if item.rerank_score is None else item.rerank_score, reverse=True)

    async def _picture_of(self, name: str, hit: Hit) -> bytes | None:
        if not hit.picture_stored or hit.picture_digest is None:
            return None
        digest = hit.picture_digest
        try:
            return await self._read(lambda: self._store.read_picture(name, digest))
        except ItemNotFoundError:  # deleted since the search
            return None

    def _reranker(self, rerank: Rerank) -> UsableModel:
        usable = self._flows.directory.find(rerank.model, Task.MATCH).usable()
        check_task(usable, Task.MATCH)
        return usable

    async def _vectors(
        self, usable: UsableModel, items: Sequence[CollectionItem], urgency: Urgency
    ) -> tuple[list[Vector | VlpError | None], Timings]:
        """Each item's vector: its own, or its picture's, or why there is none."""
        faults = [self._picture_fault(item.picture) for item in items]
        wanted = [
            index
            for index, item in enumerate(items)
            if item.vector is None and item.picture is not None and faults[index] is None
        ]
        pictures = [cast(bytes, items[index].picture) for index in wanted]
        pipeline = cast(EmbeddingPipeline, usable.loaded.pipeline)
        outcomes = await self._flows.embedding.embed_each(usable, pipeline, pictures, urgency)
        vectors: list[Vector | VlpError | None] = [
            fault or item.vector for item, fault in zip(items, faults, strict=True)
        ]
        for index, outcome in zip(wanted, outcomes, strict=True):
            vectors[index] = outcome if isinstance(outcome, VlpError) else outcome.value.vector
        return vectors, longest([outcome.timings for outcome in outcomes if not isinstance(outcome, VlpError)])

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
            kept = await self._write(lambda: self._store.upsert(spec.name, new, encoder_digest=spec.encoder_digest))
            for index, result in zip(ready, kept, strict=True):
                results[index] = result
        timings = replace(timings, store_ms=(self._clock() - started) * _MS)
        return AddReply(spec.model, spec.encoder_digest, [result for result in results if result], timings)

    def _encoder(self, spec: CollectionSpec) -> ServedModel:
        """The served model whose encoder made a collection's vectors."""
        directory = self._flows.directory
        if (same := directory.with_encoder(spec.encoder_digest)) is not None:
            return same
        try:
            named = directory.find(spec.model.partition("@")[0])
        except ModelNotFoundError:
            if any(model.state is ModelState.LOADING for model in directory):
                raise UnavailableError("models are loading; ask again", retry_after_s=2.0) from None
            raise EncoderMismatchError(
                f"collection {spec.name!r} has vectors of {spec.model}, which this server does not serve; serve it, or "
                "embed the collection anew with another model"
            ) from None
        if named.loaded is None:
            return named  # loading or failed: its state says what is the matter
        raise EncoderMismatchError(
            f"collection {spec.name!r} has vectors of the encoder {spec.encoder_digest[:12]} ({spec.model}); the "
            f"{named.label} that is served now is the encoder {named.loaded.encoder_digest[:12]}"
        )

    def _picture_fault(self, picture: bytes | None) -> TooLargeError | None:
        limit = self._flows.max_image_bytes
        if picture is None or len(picture) <= limit:
            return None
        return TooLargeError(f"image: {len(picture)} bytes, this server reads at most {limit}; send fewer")

    async def _read(self, call: Callable[[], T]) -> T:
        return await self._readers.run(call)

    async def _write(self, call: Callable[[], T]) -> T:
        return await self._writers.run(call)

    async def _keep_up(self) -> None:
        with suppress(VlpError):
            await self._readers.run(self._store.warm)
        while True:
            try:
                removed = await self._writers.run(self._store.sweep_pictures)
            except VlpError as error:
                logger.warning("pictures could not be swept: %s", error)
            else:
                if removed:
                    logger.info("removed %d pictures that no item refers to", removed)
            await asyncio.sleep(self._settings.sweep_interval_s)


@dataclass(frozen=True, slots=True)
class _Made:
    """A collection as the reply of a request."""

    info: CollectionInfo
    timings: Timings = Timings()


def _check_search(ask: CollectionSearch, settings: CollectionSettings) -> None:
    given = [name for name in ("text", "picture", "vector") if getattr(ask, name) is not None]
    if len(given) != 1:
        what = " and ".join(given) if given else "nothing"
        raise InvalidArgumentError(f"got {what}; search by one of text, image and vector", field="text")
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
