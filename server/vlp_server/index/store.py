"""What a store of vectors is: its records, and the methods that every implementation has.

A store knows vectors, ids, metadata and pictures as bytes. It knows no model, no text, no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from vlp_spec.errors import VlpError

from vlp_server.index.filters import Filter
from vlp_server.index.settings import IndexKind, IndexSettings

Metric = Literal["cosine", "dot", "l2"]
METRICS: tuple[Metric, ...] = get_args(Metric)
Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSpec:
    """What a collection is created with. Two specifications are the same when all of it is equal.

    Attributes:
        name: letters, digits, '.', '_' and '-'.
        model: name of the model whose encoder makes the vectors.
        encoder_digest: digest of that encoder; vectors of another are refused.
        dimension: length of a vector, 1 to 32 768.
        metric: "cosine" (vectors are normalised when they come in; score = cosine, -1 to 1), "dot" (score = inner
            product) or "l2" (score = minus the Euclidean distance). A higher score is always nearer.
        store_images: whether the pictures themselves are kept.
        index: how it is searched.
    """

    name: str
    model: str
    encoder_digest: str
    dimension: int
    metric: Metric = "cosine"
    store_images: bool = True
    index: IndexSettings = field(default_factory=IndexSettings)


@dataclass(frozen=True, slots=True)
class IndexState:
    """What searches of a collection are made with, at this moment.

    Attributes:
        kind: of the built index; None while nothing is built (all items are then searched exactly).
        built_items: vectors in the built index, deleted ones among them.
        tail_items: vectors beside it, which are searched exactly.
        deleted_items: vectors in either that are deleted and masked out.
        building: whether a new one is being built in the background.
    """

    kind: IndexKind | None = None
    built_items: int = 0
    tail_items: int = 0
    deleted_items: int = 0
    building: bool = False


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection as it is now.

    Attributes:
        spec: what it was created with; after a re-embedding the new model, digest and dimension.
        items: how many it holds.
        created_at: seconds since the epoch.
        index: None where the store keeps that to itself (Milvus).
    """

    spec: CollectionSpec
    items: int
    created_at: float
    index: IndexState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """An item to be kept.

    Attributes:
        id: unique in its collection; an item of the same id is replaced.
        vector: (dimension,) float32, finite. Not modified.
        metadata: a JSON object.
        picture: the picture's file; kept where the collection keeps pictures.
        picture_digest: sha256 of the picture's file in hex; computed where `picture` is given.
    """

    id: str
    vector: Vector
    metadata: Mapping[str, Any] = field(default_factory=dict)
    picture: bytes | None = None
    picture_digest: str | None = None


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one item of an upsert.

    Attributes:
        id: as it was given.
        status: "created", "updated", or "failed".
        error: why it failed.
    """

    id: str
    status: Literal["created", "updated", "failed"]
    error: VlpError | None = None


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as it is kept.

    Attributes:
        id: unique in its collection.
        metadata: a JSON object.
        picture_digest: sha256 of its picture's file, where it is known.
        picture_stored: whether `read_picture` has the picture.
        created_at: seconds since the epoch; an update does not change it.
    """

    id: str
    metadata: dict[str, Any]
    picture_digest: str | None
    picture_stored: bool
    created_at: float


@dataclass(frozen=True, slots=True)
class Hit:
    """An item that a search found.

    Attributes:
        id: of the item.
        score: higher is nearer; see `CollectionSpec.metric`.
        metadata: a JSON object.
        picture_digest: sha256 of its picture's file, where it is known.
        picture_stored: whether `read_picture` has the picture.
    """

    id: str
    score: float
    metadata: dict[str, Any]
    picture_digest: str | None
    picture_stored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchEffort:
    """How hard one search tries; None = as the collection says. It holds for this search alone.

    Attributes:
        ef_search: candidates of a graph, 1 to 10 000 ("hnsw").
        nprobe: cells that are looked at, 1 or more ("ivf_pq").
        exact: score every vector; nothing is left to an index. On Milvus: as hard as its index lets a search try.
    """

    ef_search: int | None = None
    nprobe: int | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """One search.

    Attributes:
        vector: (dimension,) float32, finite. Not modified.
        k: hits wanted, 1 to `StoreSettings.max_k`.
        filter: which items may be hits; see `filters.parse_filter`. It is applied before the search: where k or more
            items match, k hits come back.
        effort: how hard to try.
        encoder_digest: of the encoder that made `vector`; where it is given, another one is refused.
    """

    vector: Vector
    k: int = 10
    filter: Filter | None = None
    effort: SearchEffort = field(default_factory=SearchEffort)
    encoder_digest: str | None = None


# Named here, because inside a class with a method `list` that word means the method.
CollectionInfos: TypeAlias = list[CollectionInfo]
ItemResults: TypeAlias = list[ItemResult]
Hits: TypeAlias = list[Hit]


class VectorStore(Protocol):
    """All methods block and may be called by several threads at a time. Each may raise CollectionNotFoundError.

    What returned is durable: an item that an upsert called created or updated, a collection, a deletion.
    """

    def create(self, spec: CollectionSpec) -> CollectionInfo:
        """Make a collection; nothing happens where the same is there already.

        Raises:
            InvalidArgumentError: a bad name, dimension or metric.
            EncoderMismatchError: one of this name is there, of another encoder.
            CollectionExistsError: one of this name is there, and its specification differs.
            StorageFullError: the disk is full.
        """

    def get(self, name: str) -> CollectionInfo:
        """The collection as it is now."""

    def spec(self, name: str) -> CollectionSpec:
        """What the collection is; as `get`, without counting."""

    def list(self) -> CollectionInfos:
        """All collections, by name."""

    def drop(self, name: str) -> None:
        """Forget the collection and all of its items."""

    def upsert(self, name: str, items: Sequence[NewItem], *, encoder_digest: str | None = None) -> ItemResults:
        """Keep items; durable when it returns. One bad item does not hinder the others.

        Of several items with one id in a call the first is kept, and the others fail.

        Args:
            name: of the collection.
            items: at most `StoreSettings.max_items_per_call`.
            encoder_digest: of the encoder that made the vectors; where it is given, another one is refused.

        Returns:
            One result for each item, in order.

        Raises:
            TooLargeError: too many items.
            EncoderMismatchError: the collection is of another encoder.
            StorageFullError: the disk is full; nothing of this call was kept.
        """

    def known(self, name: str, ids: Sequence[str]) -> dict[str, str | None]:
        """Those of the ids that are there, with the digests of their pictures; for bulk jobs that go on."""

    def get_item(self, name: str, item_id: str) -> StoredItem:
        """The item.

        Raises:
            ItemNotFoundError: there is none of this id.
        """

    def delete_item(self, name: str, item_id: str) -> bool:
        """Forget the item; False when there was none."""

    def read_picture(self, name: str, digest: str) -> bytes:
        """The picture's file.

        Raises:
            NoPicturesError: the collection does not keep pictures.
            ItemNotFoundError: it keeps none of this digest.
        """

    def search(self, name: str, query: SearchQuery) -> Hits:
        """The nearest items, nearest first; fewer than k only where fewer are there (or match the filter).

        Raises:
            InvalidArgumentError: a vector of another dimension or not finite, a k or an effort out of range.
            EncoderMismatchError: the collection is of another encoder.
        """

    def warm(self) -> None:
        """Read now what searches will need, instead of with the first of them."""

    def sweep_pictures(self, older_than_s: float = 3600.0) -> int:
        """Remove pictures that no item refers to: left by processes that were killed. Returns how many."""

    def close(self) -> None:
        """Finish what was begun and let go of files and connections. May be called twice."""
