"""What is asked of collections, and what comes back. No HTTP and no protobuf here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vlp_server.core.records import Timings
from vlp_server.index.filters import Filter
from vlp_server.index.settings import IndexSettings
from vlp_server.index.store import Hit, ItemResult, Metric, SearchEffort, Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionWish:
    """A collection as it is to be.

    Attributes:
        model: whose encoder makes the vectors; None = the default one.
    """

    name: str
    model: str | None = None
    metric: Metric = "cosine"
    store_images: bool = True
    index: IndexSettings = field(default_factory=IndexSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionItem:
    """An item to be added: with a picture, which is embedded, or with a vector of the collection's own encoder.

    Attributes:
        picture: an encoded picture, or None.
        vector: (dimension,) float32; needed without a picture, and taken instead of embedding it where both are there.
    """

    id: str
    picture: bytes | None = None
    vector: Vector | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerank:
    """The first hits of a search by text are looked at again, by a model that sees picture and text together.

    Attributes:
        model: None = the default one for matching.
        k: how many of the first hits.
    """

    model: str | None = None
    k: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSearch:
    """One search; exactly one of `text`, `picture` and `vector` is there.

    Attributes:
        k: hits wanted.
    """

    text: str | None = None
    picture: bytes | None = None
    vector: Vector | None = None
    k: int = 10
    filter: Filter | None = None
    effort: SearchEffort = field(default_factory=SearchEffort)
    rerank: Rerank | None = None


@dataclass(frozen=True, slots=True)
class AddReply:
    """What became of the items of one call, in their order.

    Attributes:
        model: of the collection's encoder.
        encoder: its digest.
    """

    model: str
    encoder: str
    results: Sequence[ItemResult]
    timings: Timings


@dataclass(frozen=True, slots=True)
class FoundItem:
    """A hit.

    Attributes:
        rerank_score: probability that text and picture belong together, where the hit was looked at again.
    """

    hit: Hit
    rerank_score: float | None = None


@dataclass(frozen=True, slots=True)
class SearchReply:
    """Hits, best first: first those that were looked at again, by that score, then the others by theirs.

    Attributes:
        model: of the collection's encoder.
        encoder: its digest.
        reranked_by: name@version of the model that looked again, None where none did.
    """

    model: str
    encoder: str
    hits: Sequence[FoundItem]
    timings: Timings
    reranked_by: str | None = None
