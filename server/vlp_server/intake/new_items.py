"""Items on their way into a collection: their ids, their pictures, and what became of each."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vlp_spec.errors import InvalidArgumentError, VlpError

from vlp_server.access.prices import Weight, pictures_weight
from vlp_server.core.collection_records import AddReply, CollectionItem
from vlp_server.core.fan_out import each_outcome
from vlp_server.index.store import ItemResult, Vector
from vlp_server.intake.picture_source import PARALLEL_FETCHES, PictureUrl

if TYPE_CHECKING:
    from vlp_server.core.collections import Collections

# A caller's deadline is not all for fetching: what did arrive has to be embedded and kept, too.
FETCH_SHARE = 0.6
_SANE_KEY = re.compile(r"[\x21-\x7e]{1,256}")


@dataclass(frozen=True, slots=True)
class SentItem:
    """An item as it was sent; its picture may still have to be fetched, and a fault of its own is its result."""

    id: str
    picture: bytes | PictureUrl | None = None
    vector: Vector | None = None
    metadata: Mapping[str, Any] | None = None
    fault: VlpError | None = None

    def item(self, picture: bytes | None) -> CollectionItem:
        """For the core."""
        return CollectionItem(id=self.id, picture=picture, vector=self.vector, metadata=self.metadata or {})


NewId = Callable[[int], str]
FetchPicture = Callable[[bytes | PictureUrl], Awaitable[bytes]]


def new_ids(collection: str, key: str | None, name: str) -> NewId:
    """How items without an id get one: a new one, or with an idempotency key the same one for every try.

    Args:
        collection: that they are added to.
        key: the caller's, where there is one.
        name: of what the key was sent in.

    Raises:
        InvalidArgumentError: the key is not printable ASCII, or longer than 256 characters.
    """
    if key is None:
        return lambda index: uuid.uuid4().hex
    if not _SANE_KEY.fullmatch(key):
        raise InvalidArgumentError(f"{name}: expected 1 to 256 printable characters of ASCII", field=name)
    return lambda index: hashlib.sha256(f"{collection}/{key}/{index}".encode()).hexdigest()[:32]


def items_weight(items: Sequence[SentItem]) -> Weight:
    """What it costs to add them: a picture is looked at once, a ready vector is only kept."""
    seen = [item for item in items if item.fault is None and item.vector is None]
    return pictures_weight(len(seen), len(items) - len(seen))


async def add_sent(
    collections: Collections, name: str, sent: Sequence[SentItem], fetch: FetchPicture, deadline: float | None
) -> AddReply:
    """Fetch what is named by URL, add what there is, and give every item its result; errors as Collections.add."""

    async def item_of(item: SentItem) -> CollectionItem:
        if item.fault is not None:
            raise item.fault
        return item.item(None if item.picture is None else await fetch(item.picture))

    outcomes = await each_outcome(sent, item_of, PARALLEL_FETCHES)
    ready = [outcome for outcome in outcomes if isinstance(outcome, CollectionItem)]
    reply = await collections.add(name, ready, deadline=deadline)
    added = iter(reply.results)
    results = [
        ItemResult(item.id, "failed", outcome) if isinstance(outcome, VlpError) else next(added)
        for item, outcome in zip(sent, outcomes, strict=True)
    ]
    return replace(reply, results=results)
