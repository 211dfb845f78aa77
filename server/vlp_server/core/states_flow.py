"""The life of pictures that a model sees by themselves: cache, preprocessing, vision graph, cross graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray
from vlp_pipeline.generative import CROSS_ROLE, VISION_ROLE, PictureStates, StagedPictures
from vlp_pipeline.pipeline import Item
from vlp_spec.tasks import Lane

from vlp_server.core.metrics import Metrics
from vlp_server.core.preprocess_pool import PreprocessPool
from vlp_server.core.records import Timings, in_turn
from vlp_server.core.settings import CacheSettings
from vlp_server.core.shared_work import Key, SharedWork, Worked
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel

States = Mapping[str, NDArray[Any]]
"""The row of outputs of one graph for one picture; not to be changed."""
_ENTRY_BYTES = 600


class StatesFlow:
    """Gives what a model sees in a picture, of no picture twice; everything that is asked about it starts from there.

    Shared by content: (sha256 of the model's manifest, sha256 of the file, role).
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
        self._states: SharedWork[States] = SharedWork(
            "states", cache.state_entries, cache.state_bytes, _entry_bytes, metrics=metrics, clock=clock
        )

    async def vision(
        self, model: UsableModel, pipeline: StagedPictures, picture: bytes, digest: str, urgency: Urgency
    ) -> Worked[States]:
        """The outputs of the graph with role "vision".

        Args:
            picture: an encoded picture.
            digest: its sha256, hex.

        Raises:
            VlpError: the picture cannot be read, or the model failed, has no room, or no time.
        """

        async def see() -> Worked[States]:
            ran = await self._pool.run(
                lambda: pipeline.vision_item(pipeline.prepare_image(picture)),
                lane=urgency.lane,
                deadline=urgency.deadline,
            )
            seen = await self._compute(model, ran.value, urgency)
            return Worked(seen.value, in_turn(ran.timings, seen.timings))

        return await self._shared((model.loaded.digest, digest, VISION_ROLE), see, urgency)

    async def cross(
        self,
        model: UsableModel,
        pipeline: PictureStates,
        picture: bytes,
        digest: str,
        urgency: Urgency,
        *,
        seen: Worked[States] | None = None,
    ) -> Worked[States]:
        """The outputs of the graph with role "cross"; arguments and errors as `vision`, whose result may be `seen`."""
        known = seen

        async def see() -> Worked[States]:
            seen = known or await self.vision(model, pipeline, picture, digest, urgency)
            crossed = await self._compute(model, pipeline.cross_item(seen.value), urgency)
            return Worked(crossed.value, in_turn(Timings() if known else seen.timings, crossed.timings))

        return await self._shared((model.loaded.digest, digest, CROSS_ROLE), see, urgency)

    def forget_states(self, model_digest: str) -> int:
        """Drop all that is kept of a model that can no longer be trusted; says how much."""
        return self._states.forget(lambda key: key[0] == model_digest)

    async def _shared(self, key: Key, see: Callable[[], Any], urgency: Urgency) -> Worked[States]:
        kept = self._states.look_up(key)
        if kept is not None:
            return Worked(kept, Timings())
        # Bulk work keeps nothing, or it would push out what interactive callers come back for.
        return await self._states.work_out(key, see, urgency, keep=urgency.lane is Lane.INTERACTIVE)

    async def _compute(self, model: UsableModel, item: Item, urgency: Urgency) -> Worked[States]:
        computed = await model.compute(item, urgency)
        timings = computed.timings(postprocess_s=0.0)
        if computed.batch_items == 1:
            return Worked(computed.outputs, timings)
        # Rows of a batch's outputs are views: kept alone, each would hold its neighbours' memory too.
        ran = await self._pool.run(
            lambda: {name: array.copy() for name, array in computed.outputs.items()},
            lane=urgency.lane,
            deadline=urgency.deadline,
        )
        return Worked(ran.value, timings)


def _entry_bytes(_: Key, states: States) -> int:
    return _ENTRY_BYTES + sum(array.nbytes for array in states.values())
