"""The life of pictures and texts that become vectors: cache, preprocessing, queue, engine, vector."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from vlp_pipeline.pipeline import EmbeddingPipeline, Item
from vlp_spec.errors import DeadlineError, VlpError
from vlp_spec.tasks import Lane

from vlp_server.core.content_digest import content_digest
from vlp_server.core.fan_out import all_or_first_error, each_outcome
from vlp_server.core.metrics import Metrics
from vlp_server.core.preprocess_pool import PreprocessPool
from vlp_server.core.records import Timings, in_turn
from vlp_server.core.settings import CacheSettings
from vlp_server.core.shared_work import Key, SharedWork, Worked
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel

Source = bytes | str
"""What can be embedded: an encoded picture, or a text."""

# Of one request at a time: enough for full batches, and no single request fills the queue.
PARALLEL_ITEMS = 64
_ENTRY_BYTES = 400
_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Embedded:
    """A vector.

    Attributes:
        vector: (dimension,) float32 of length 1; read-only.
        tokens: of a text as the graph takes it; 0 for a picture.
    """

    vector: NDArray[np.float32]
    tokens: int


class EmbedFlow:
    """Embeds pictures and texts, none of them twice.

    Vectors are shared by content: (sha256 of the model's manifest, sha256 of the file, or the text itself). Bulk work
    uses what is kept and keeps nothing itself, or it would push out what interactive callers come back for.
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
        self._vectors: SharedWork[Embedded] = SharedWork(
            "embedding", cache.embedding_entries, cache.embedding_bytes, _entry_bytes, metrics=metrics, clock=clock
        )

    async def embed(
        self, model: UsableModel, pipeline: EmbeddingPipeline, sources: Sequence[Source], urgency: Urgency
    ) -> list[Worked[Embedded]]:
        """Embed all.

        Raises:
            VlpError: the first error of any of them; the others are given up.
        """
        return await all_or_first_error(
            sources, lambda source: self._embed_one(model, pipeline, source, urgency), PARALLEL_ITEMS
        )

    async def embed_each(
        self, model: UsableModel, pipeline: EmbeddingPipeline, sources: Sequence[Source], urgency: Urgency
    ) -> list[Worked[Embedded] | VlpError]:
        """Embed each on its own: what fails, or is not done by the deadline, has its own error and hurts no other."""

        async def in_time(source: Source) -> Worked[Embedded]:
            try:
                async with asyncio.timeout(max(0.0, urgency.deadline - self._clock())):
                    return await self._embed_one(model, pipeline, source, urgency)
            except TimeoutError:
                raise DeadlineError("the deadline passed before this item was embedded") from None

        return await each_outcome(sources, in_time, PARALLEL_ITEMS)

    def forget_vectors(self, model_digest: str) -> int:
        """Drop every kept vector of a model that can no longer be trusted; says how many."""
        return self._vectors.forget(lambda key: key[0] == model_digest)

    async def _embed_one(
        self, model: UsableModel, pipeline: EmbeddingPipeline, source: Source, urgency: Urgency
    ) -> Worked[Embedded]:
        started = self._clock()
        content = source if isinstance(source, str) else await content_digest(source, self._pool, urgency)
        key = model.loaded.digest, type(source).__name__, content
        kept = self._vectors.look_up(key)
        cache_ms = (self._clock() - started) * _MS
        if kept is not None:
            return Worked(kept, Timings(cache_ms=cache_ms, cached=1))
        worked = await self._vectors.work_out(
            key,
            lambda: self._compute(model, pipeline, source, urgency),
            urgency,
            keep=urgency.lane is Lane.INTERACTIVE,
        )
        return Worked(worked.value, replace(worked.timings, cache_ms=cache_ms))

    async def _compute(
        self, model: UsableModel, pipeline: EmbeddingPipeline, source: Source, urgency: Urgency
    ) -> Worked[Embedded]:
        ran = await self._pool.run(lambda: _item(pipeline, source), lane=urgency.lane, deadline=urgency.deadline)
        item = ran.value
        computed = await model.compute(item, urgency)
        started = self._clock()
        vector = pipeline.embedding(computed.outputs)
        vector.flags.writeable = False
        timings = computed.timings(postprocess_s=self._clock() - started)
        self._metrics.embedded.labels(model.loaded.label, item.role, str(urgency.lane)).inc()
        return Worked(Embedded(vector, item.sizes.get("text", 0)), in_turn(ran.timings, timings))


def _item(pipeline: EmbeddingPipeline, source: Source) -> Item:
    if isinstance(source, str):
        return pipeline.text_item(source)
    return pipeline.image_item(pipeline.prepare_image(source))


def _entry_bytes(key: Key, embedded: Embedded) -> int:
    return _ENTRY_BYTES + embedded.vector.nbytes + 4 * len(str(key[-1]))
