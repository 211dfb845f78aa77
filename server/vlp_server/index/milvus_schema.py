"""How collections and items look in Milvus: names, fields, indexes, and what the client library is told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from vlp_server.index.collection_rows import spec_from_json, spec_to_json
from vlp_server.index.filter_milvus import facets_of
from vlp_server.index.item_rows import PreparedItem
from vlp_server.index.metadata import decode_metadata
from vlp_server.index.names import MAX_ITEM_ID_BYTES
from vlp_server.index.settings import IndexSettings
from vlp_server.index.store import CollectionSpec, Metric, SearchEffort, StoredItem

PREFIX = "vlp_"
SPEC_PROPERTY = "vlpserve.spec"
CREATED_PROPERTY = "vlpserve.created_at"
MEASURES: Mapping[Metric, str] = {"cosine": "COSINE", "dot": "IP", "l2": "L2"}
MAX_EF = 32_768
ITEM_FIELDS = ("id", "metadata", "picture_digest", "picture_stored", "created_us")
_ESCAPED = re.compile(r"_([0-9a-f]{2})")


def milvus_name(name: str) -> str:
    """The collection's name there: Milvus allows letters, digits and '_' only, so the rest is written in hex."""
    return PREFIX + re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found[0]):02x}", name)


def our_name(milvus: str) -> str | None:
    """The name that `milvus_name` was given; None for a collection that is not ours."""
    if not milvus.startswith(PREFIX):
        return None
    name = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), milvus.removeprefix(PREFIX))
    return name if milvus_name(name) == milvus else None


def schema_of(pymilvus: Any, spec: CollectionSpec) -> Any:
    """The fields of a collection."""
    kinds = pymilvus.DataType
    schema = pymilvus.MilvusClient.create_schema(
        auto_id=False, enable_dynamic_field=False, description=spec_to_json(spec)
    )
    schema.add_field("id", kinds.VARCHAR, is_primary=True, max_length=MAX_ITEM_ID_BYTES)
    schema.add_field("vector", kinds.FLOAT_VECTOR, dim=spec.dimension)
    schema.add_field("metadata", kinds.VARCHAR, max_length=65_535)
    schema.add_field("facets", kinds.JSON)
    schema.add_field("picture_digest", kinds.VARCHAR, max_length=64)
    schema.add_field("picture_stored", kinds.BOOL)
    schema.add_field("created_us", kinds.INT64)
    return schema


def index_of(spec: CollectionSpec) -> dict[str, Any]:
    """The index of the vectors. Milvus itself searches small and growing segments exactly."""
    settings = spec.index
    if settings.kind == "flat":
        kind, parameters = "FLAT", {}
    elif settings.kind == "hnsw":
        kind, parameters = "HNSW", {"M": settings.hnsw_links, "efConstruction": settings.ef_construction}
    else:
        kind = "IVF_PQ"
        parameters = {"nlist": _cells(settings), "m": settings.pq_bytes or _parts(spec.dimension), "nbits": 8}
    return {
        "field_name": "vector",
        "index_type": kind,
        "metric_type": MEASURES[spec.metric],
        "params": parameters,
    }


def search_parameters(spec: CollectionSpec, effort: SearchEffort, k: int) -> dict[str, Any]:
    """The parameters of one search."""
    if spec.index.kind == "hnsw":
        # Milvus refuses fewer candidates than hits.
        candidates = MAX_EF if effort.exact else max(effort.ef_search or spec.index.ef_search, k)
        return {"params": {"ef": candidates}}
    if spec.index.kind == "ivf_pq":
        cells = _cells(spec.index)
        return {"params": {"nprobe": cells if effort.exact else min(effort.nprobe or spec.index.nprobe, cells)}}
    return {"params": {}}


def spec_of(description: Mapping[str, Any]) -> tuple[CollectionSpec, float]:
    """Specification and time of creation, from what Milvus says of a collection."""
    properties = description["properties"]
    return spec_from_json(properties[SPEC_PROPERTY]), float(properties[CREATED_PROPERTY])


def entity_of(item: PreparedItem, created_us: int) -> dict[str, Any]:
    """An item as Milvus keeps it."""
    return {
        "id": item.item_id,
        "vector": item.vector,
        "metadata": item.metadata,
        "facets": facets_of(json.loads(item.metadata)),
        "picture_digest": item.picture_digest or "",
        "picture_stored": item.picture_stored,
        "created_us": created_us,
    }


def stored_item(entity: Mapping[str, Any]) -> StoredItem:
    """An item from what Milvus keeps."""
    return StoredItem(
        entity["id"],
        decode_metadata(entity["metadata"]),
        entity["picture_digest"] or None,
        bool(entity["picture_stored"]),
        entity["created_us"] / 1e6,
    )


def _cells(settings: IndexSettings) -> int:
    # Milvus has 65 536 cells at most.
    return min(settings.ivf_lists or 1024, 65_536)


def _parts(dimension: int) -> int:
    """The divisor of the dimension that is nearest to an eighth of it, from below where it can be."""
    return max(size for size in range(1, max(1, dimension // 8) + 1) if dimension % size == 0)
