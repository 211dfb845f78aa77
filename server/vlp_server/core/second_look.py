"""The second stage of a search: the first hits by how well a matcher finds that text and picture fit."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence

from vlp_spec.errors import InferenceError, InvalidImageError, ItemNotFoundError, TooLargeError
from vlp_spec.tasks import MatchQuery, MatchResult, Task

from vlp_server.core.answer_flows import AnswerFlows
from vlp_server.core.collection_records import FoundItem
from vlp_server.core.fan_out import all_or_first_error
from vlp_server.core.thread_team import ThreadTeam
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel
from vlp_server.index.store import Hit, VectorStore

logger = logging.getLogger(__name__)
# Looked at again at a time; more would hold too many pictures, and push other callers' items back.
_AT_ONCE = 16


class SecondLook:
    """Looks at hits again, with their kept pictures. Belongs to the event loop.

    Args:
        store: that keeps the pictures.
        readers: threads in which it is read.
        answers: the flows that matches run through.
    """

    def __init__(self, store: VectorStore, readers: ThreadTeam, answers: AnswerFlows) -> None:
        self._store = store
        self._readers = readers
        self._answers = answers
        # Of all searches together.
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def rerank(
        self, collection: str, hits: Sequence[Hit], text: str, matcher: UsableModel, urgency: Urgency
    ) -> list[FoundItem]:
        """The hits by score; those that cannot be looked at stay behind, in their order.

        Raises:
            VlpError: what is the matter with more than one picture: no room, no time, a model that has failed.
        """
        query = MatchQuery(text)

        async def look(hit: Hit) -> FoundItem:
            async with self._room:
                picture = await self._picture_of(collection, hit)
                if picture is None:
                    return FoundItem(hit)
                results: list[MatchResult]
                try:
                    results, _ = await self._answers.answer(Task.MATCH, matcher, [picture], [query], urgency)
                except (InvalidImageError, TooLargeError, InferenceError) as error:  # of this picture alone
                    logger.info("item %r of %r could not be looked at again: %s", hit.id, collection, error)
                    return FoundItem(hit)
                result = results[0]
                return FoundItem(hit, result.score if result.rank_score is None else result.rank_score)

        seen = await all_or_first_error(hits, look, _AT_ONCE)
        # A score may be any number; what could not be looked at has none.
        return sorted(
            seen, key=lambda item: -math.inf if item.rerank_score is None else item.rerank_score, reverse=True
        )

    async def _picture_of(self, collection: str, hit: Hit) -> bytes | None:
        if not hit.picture_stored or hit.picture_digest is None:
            return None
        digest = hit.picture_digest
        try:
            return await self._readers.run(lambda: self._store.read_picture(collection, digest))
        except ItemNotFoundError:  # deleted since the search
            return None
