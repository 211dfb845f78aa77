"""Frozen settings: of one collection's index (they come with a request), and of a store (the operator's)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from vlp_spec.errors import ConfigError, InvalidArgumentError

IndexKind = Literal["flat", "hnsw", "ivf_pq"]
KINDS: tuple[IndexKind, ...] = get_args(IndexKind)
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSettings:
    """How the vectors of a collection are searched. A part of its specification, fixed when it is created.

    Attributes:
        kind: what is built at `flat_below` items and more: "hnsw" (a graph; fast, all vectors in memory), "ivf_pq"
            (codes; little memory, candidates scored again with the whole vectors from disk), or "flat" (exact).
        flat_below: with fewer items than this the search is exact.
        hnsw_links: links of a node of the graph, 4 to 128.
        ef_construction: candidates looked at for each new node, 8 to 2000.
        ef_search: candidates looked at by a search that does not say otherwise, 1 to 10 000.
        ivf_lists: cells of the coarse quantiser; 0 = four times the square root of the number of items.
        nprobe: cells looked at by a search that does not say otherwise.
        pq_bytes: bytes of a code; must divide the dimension; 0 = about an eighth of the dimension.
        refine: candidates scored with their whole vectors, as a multiple of k, 1 to 100 ("ivf_pq").

    Raises:
        InvalidArgumentError: a value is out of its range.
    """

    kind: IndexKind = "hnsw"
    flat_below: int = 20_000
    hnsw_links: int = 32
    ef_construction: int = 80
    ef_search: int = 64
    ivf_lists: int = 0
    nprobe: int = 32
    pq_bytes: int = 0
    refine: int = 10

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidArgumentError(f"index.kind: {self.kind!r} is none of {', '.join(KINDS)}", field="index.kind")
        for name, low, high in (
            ("flat_below", 0, 100_000_000),
            ("hnsw_links", 4, 128),
            ("ef_construction", 8, 2000),
            ("ef_search", 1, 10_000),
            ("ivf_lists", 0, 1_000_000),
            ("nprobe", 1, 1_000_000),
            ("pq_bytes", 0, 1024),
            ("refine", 1, 100),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise InvalidArgumentError(
                    f"index.{name}: got {value!r}, expected a whole number from {low} to {high}", field=f"index.{name}"
                )

    def kind_for(self, items: int) -> IndexKind:
        """The kind of index for this number of items."""
        return "flat" if items < self.flat_below else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Limits and habits of a store.

    Attributes:
        pictures_url: where pictures are kept: a folder, or an fsspec URL such as s3://bucket/prefix. Empty = the
            folder `pictures` in the store's own; needed for Milvus, whose data lies elsewhere.
        max_items_per_call: items of one upsert.
        max_metadata_bytes: metadata of one item, as JSON in UTF-8.
        max_picture_bytes: one picture's file.
        max_k: hits that a search may ask for.
        busy_timeout_s: how long SQLite waits for a lock that another process holds.
        build_threads: threads that build an index in the background; 0 = every CPU that this process may run on.
        tail_items: items that may wait outside of the built index before it is built anew...
        tail_share: ...or this share of the built index, whichever is more. They are searched exactly all the while.
        dead_share: share of the built index that may be deleted items before it is built anew.
        filter_cache_bytes: memory for the results of metadata filters.
        use_gpu: search flat and ivf_pq indexes on a GPU where faiss-gpu and a device are there.
        milvus_token: "user:password" or API key of a Milvus cluster.
        milvus_timeout_s: of one call to Milvus.

    Raises:
        ConfigError: values out of range, all at once.
    """

    pictures_url: str = ""
    max_items_per_call: int = 1024
    max_metadata_bytes: int = 65_535
    max_picture_bytes: int = 20 * _MIB
    max_k: int = 10_000
    busy_timeout_s: float = 10.0
    build_threads: int = 0
    tail_items: int = 4096
    tail_share: float = 0.1
    dead_share: float = 0.2
    filter_cache_bytes: int = 256 * _MIB
    use_gpu: bool = True
    milvus_token: str = field(default="", repr=False)
    milvus_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        faults = [
            f"store.{name}: got {value}, expected {low} to {high}"
            for name, value, low, high in (
                ("max_items_per_call", self.max_items_per_call, 1, 100_000),
                # Milvus keeps 65 535 bytes of text for a field; one limit for both stores.
                ("max_metadata_bytes", self.max_metadata_bytes, 2, 65_535),
                ("max_picture_bytes", self.max_picture_bytes, 1, 1024 * _MIB),
                # Milvus answers with 16 384 hits at most.
                ("max_k", self.max_k, 1, 16_384),
                ("busy_timeout_s", self.busy_timeout_s, 0.1, 600),
                ("build_threads", self.build_threads, 0, 1024),
                ("tail_items", self.tail_items, 1, 10_000_000),
                ("tail_share", self.tail_share, 0.0, 10.0),
                ("dead_share", self.dead_share, 0.0, 1.0),
                ("filter_cache_bytes", self.filter_cache_bytes, 0, 1 << 40),
                ("milvus_timeout_s", self.milvus_timeout_s, 0.1, 3600),
            )
            if not low <= value <= high
        ]
        if faults:
            raise ConfigError(faults)
