"""What a server answers about collections, as frozen records, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlp_client.replies import Reply
from vlp_client.short_repr import ShortRepr


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection.

    Attributes:
        model: name@version of the encoder.
        encoder: its digest; vectors of another cannot be compared with these.
        metric: "cosine", "dot" or "l2"; a higher score is nearer with each.
        store_images: whether the pictures are kept, which re-ranking needs.
        created: seconds since the epoch.
    """

    name: str
    model: str
    encoder: str
    dimension: int
    metric: str
    store_images: bool
    items: int
    created: int


@dataclass(frozen=True, slots=True)
class AddedItem:
    """What became of an item.

    Attributes:
        status: "created" or "updated": it is on the server's disk; "failed": see the others. A bulk run also says
            "present": it was there before.
        kind: stable name of the fault.
        message: what is wrong.
        retry_after_s: when it may be worth to send the item again; None: it would fail again.
    """

    id: str
    status: str
    kind: str | None = None
    message: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Added(ShortRepr):
    """One result for each item, in their order."""

    model: str
    encoder: str
    results: tuple[AddedItem, ...]

    @property
    def failed(self) -> tuple[AddedItem, ...]:
        """Those that were not kept."""
        return tuple(result for result in self.results if result.status == "failed")


@dataclass(frozen=True, slots=True, repr=False)
class StoredItem(ShortRepr):
    """An item as the server keeps it; `image_sha256` is None where it came without a picture."""

    id: str
    metadata: Mapping[str, Any]
    image_sha256: str | None
    image_stored: bool
    created: int


@dataclass(frozen=True, slots=True, repr=False)
class Hit(ShortRepr):
    """An item that a search found.

    Attributes:
        score: higher is nearer.
        rerank_score: how well text and picture fit, where the hit was looked at again: a probability, or what the
            matcher's family orders by; larger is better.
    """

    id: str
    score: float
    metadata: Mapping[str, Any]
    rerank_score: float | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Hits(ShortRepr):
    """Hits, best first.

    Attributes:
        model: name@version of the encoder.
        encoder: its digest.
        reranked_by: name@version of the model that looked at the first ones again.
        timings_ms: where the time went, by stage, as the server says.
    """

    model: str
    encoder: str
    hits: tuple[Hit, ...]
    reranked_by: str | None
    timings_ms: Mapping[str, float]


def read_collection(reply: Reply) -> CollectionInfo:
    """Read a collection."""
    return _collection(reply.body)


def read_collections(reply: Reply) -> tuple[CollectionInfo, ...]:
    """Read all collections."""
    return tuple(map(_collection, reply.body["collections"]))


def _collection(body: Mapping[str, Any]) -> CollectionInfo:
    return CollectionInfo(**{name: body[name] for name in CollectionInfo.__dataclass_fields__})


def read_added(reply: Reply) -> Added:
    """Read the results of an addition."""
    body = reply.body
    results = []
    for item in body["results"]:
        error = item.get("error") or {}
        results.append(
            AddedItem(item["id"], item["status"], error.get("kind"), error.get("detail"), error.get("retry_after_s"))
        )
    return Added(body["model"], body["encoder"], tuple(results))


def read_item(reply: Reply) -> StoredItem:
    """Read an item."""
    return StoredItem(**{name: reply.body[name] for name in StoredItem.__dataclass_fields__})


def read_hits(reply: Reply) -> Hits:
    """Read the hits of a search."""
    body = reply.body
    found = tuple(
        Hit(item["id"], float(item["score"]), item["metadata"], item.get("rerank_score")) for item in body["hits"]
    )
    return Hits(body["model"], body["encoder"], found, body.get("reranked_by"), reply.timings_ms)
