"""A model that answers now, with the queue of each of its graphs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from vlp_pipeline.pipeline import Item
from vlp_spec.errors import InternalError

from vlp_server.core.batcher import Computed
from vlp_server.core.decoder_loop import DecoderLoop
from vlp_server.core.loading import LoadedModel
from vlp_server.core.urgency import Urgency
from vlp_server.core.work_queue import ItemQueue


@dataclass(frozen=True, slots=True)
class UsableModel:
    """What a request works with.

    Attributes:
        batchers: role -> the queue of its graph.
        room: bounds the requests that hold what was seen in their pictures, tens of megabytes each.
        decoder: where its texts are written; None where it writes none.
    """

    loaded: LoadedModel
    batchers: Mapping[str, ItemQueue]
    room: asyncio.Semaphore
    decoder: DecoderLoop | None = None

    async def compute(self, item: Item, urgency: Urgency) -> Computed:
        """Queue an item for the graph of its role; errors as `Batcher.submit`."""
        batcher = self.batchers.get(item.role)
        if batcher is None:
            raise InternalError(detail=f"{self.loaded.label} has no graph with role {item.role!r}")
        return await batcher.submit(item, lane=urgency.lane, deadline=urgency.deadline)

    def retry_after_s(self) -> float:
        """Seconds after which what is queued now should be done."""
        waits = [batcher.retry_after_s() for batcher in self.batchers.values()]
        return max([*waits, *([] if self.decoder is None else [self.decoder.retry_after_s()])])
