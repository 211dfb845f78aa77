"""The life of pictures that become regions: cache, preprocessing, two graphs with a choice between, regions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar, cast

from vlp_pipeline.pipeline import DetectorPipeline, FoundRegions

from vlp_server.core.metrics import Metrics
from vlp_server.core.preprocess_pool import PreprocessPool, Ran
from vlp_server.core.records import Timings
from vlp_server.core.settings import CacheSettings
from vlp_server.core.shared_work import Key, SharedWork, Worked
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel

T = TypeVar("T")
_ENTRY_BYTES = 600
_MS = 1000.0


class RegionFlow:
    """Finds regions with their features, of no picture twice.

    They are shared by content: (sha256 of the extractor's manifest, sha256 of the file). Finding them costs far more
    than what is then asked about them, and what is kept costs little: bulk work keeps its regions, too.
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
        self._found: SharedWork[FoundRegions] = SharedWork(
            "regions", cache.region_entries, cache.region_bytes, _entry_bytes, metrics=metrics, clock=clock
        )

    async def find(
        self, extractor: UsableModel, image: bytes, image_digest: str, urgency: Urgency
    ) -> Worked[FoundRegions]:
        """The regions of a picture.

        Args:
            extractor: a model with a DetectorPipeline.
            image: an encoded picture.
            image_digest: its sha256, hex.
            urgency: how the work ranks.

        Raises:
            VlpError: the picture cannot be read, or the extractor failed, has no room, or no time.
        """
        key = extractor.loaded.digest, image_digest
        kept = self._found.look_up(key)
        if kept is not None:
            return Worked(kept, Timings())
        worked = await self._found.work_out(key, lambda: self._compute(extractor, image, urgency), urgency)
        return Worked(worked.value, worked.timings)

    def forget_regions(self, model_digest: str) -> int:
        """Drop every kept region of an extractor that can no longer be trusted; says how many pictures."""
        return self._found.forget(lambda key: key[0] == model_digest)

    async def _compute(self, extractor: UsableModel, image: bytes, urgency: Urgency) -> Worked[FoundRegions]:
        pipeline = cast(DetectorPipeline, extractor.loaded.pipeline)
        started = self._clock()
        prepared = await self._run(lambda: pipeline.prepare_image(image), urgency)
        seen = await extractor.compute(pipeline.backbone_item(prepared.value), urgency)
        proposed = await self._run(lambda: pipeline.proposals_item(prepared.value, seen.outputs), urgency)
        judged = await extractor.compute(proposed.value, urgency)
        found = await self._run(lambda: pipeline.found(prepared.value, proposed.value, judged.outputs), urgency)
        whole_ms = (self._clock() - started) * _MS
        return Worked(found.value, Timings(regions_ms=whole_ms))

    async def _run(self, call: Callable[[], T], urgency: Urgency) -> Ran[T]:
        return await self._pool.run(call, lane=urgency.lane, deadline=urgency.deadline)


def _entry_bytes(key: Key, found: FoundRegions) -> int:
    return _ENTRY_BYTES + found.regions.size_bytes + sum(map(len, (*found.names, *found.attributes)))
