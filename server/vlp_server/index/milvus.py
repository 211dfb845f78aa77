"""The store on Milvus: Milvus is the truth, and several processes and machines may share it.

The same URI setting takes a cluster, and a file of milvus-lite (Milvus's own code inside the process, for tests and
laptops). How durable an acknowledged write is, is Milvus's business; reads ask for strong consistency.
"""

from __future__ import annotations

import importlib
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from vlp_spec.errors import ConfigError, InvalidArgumentError, ItemNotFoundError, UnavailableError, VlpError

from vlp_server.index.collection_rows import (
    check_encoder,
    check_keeps_pictures,
    check_same,
    check_spec,
    not_found,
    spec_to_json,
)
from vlp_server.index.filter_milvus import filter_to_expression, quoted
from vlp_server.index.item_rows import PreparedItem, item_not_found
from vlp_server.index.milvus_schema import (
    CREATED_PROPERTY,
    ITEM_FIELDS,
    MEASURES,
    PREFIX,
    SPEC_PROPERTY,
    entity_of,
    index_of,
    milvus_name,
    our_name,
    schema_of,
    search_parameters,
    spec_of,
    stored_item,
)
from vlp_server.index.names import check_item_id
from vlp_server.index.picture_keeping import PictureKeeper
from vlp_server.index.pictures import open_pictures
from vlp_server.index.preparation import prepare_items
from vlp_server.index.query_checks import check_query
from vlp_server.index.settings import StoreSettings
from vlp_server.index.storage_faults import storage_faults
from vlp_server.index.store import (
    CollectionInfo,
    CollectionInfos,
    CollectionSpec,
    Hit,
    Hits,
    ItemResults,
    NewItem,
    SearchQuery,
    StoredItem,
)

_STRONG = "Strong"
# A server takes messages of 64 MiB, and answers a query with 16 384 rows at most.
_IDS_AT_ONCE = 1000
_BYTES_AT_ONCE = 16 * 1024 * 1024


class MilvusStore:
    """A `VectorStore` on Milvus. See the protocol for its methods.

    Args:
        uri: http://host:19530, or a file name that ends in .db.
        settings: limits and habits; `pictures_url` says where pictures are kept.

    Raises:
        ConfigError: pymilvus is not installed, or there is no Milvus at the URI.
    """

    def __init__(self, uri: str, settings: StoreSettings | None = None) -> None:
        self.settings = settings or StoreSettings()
        self._pymilvus = _load_pymilvus(uri)
        url = self.settings.pictures_url
        self.pictures = None if not url else PictureKeeper(open_pictures(url), self._is_picture_used)
        try:
            self._client = self._pymilvus.MilvusClient(
                uri, token=self.settings.milvus_token, timeout=self.settings.milvus_timeout_s
            )
        except Exception as error:
            raise ConfigError([f"store: no Milvus at {uri}: {error}"]) from error
        self._lock = threading.Lock()
        # First writes at the same moment let milvus-lite open the file of its log twice, one over the other.
        self._writing: AbstractContextManager[object] = nullcontext() if "://" in uri else threading.Lock()
        self._closed = False

    def create(self, spec: CollectionSpec) -> CollectionInfo:
        """Make a collection; nothing happens where the same is there already."""
        check_spec(spec)
        if spec.store_images and self.pictures is None:
            raise InvalidArgumentError(
                "store_images: this server has no place for pictures beside Milvus (its operator may set "
                "store.pictures_url); create the collection without them",
                field="store_images",
            )
        name = milvus_name(spec.name)
        with self._lock, self._faults():
            if not self._client.has_collection(name):
                parameters = self._client.prepare_index_params()
                parameters.add_index(**index_of(spec))
                with suppress(self._pymilvus.MilvusException):  # another process may be quicker; what is there counts
                    self._client.create_collection(
                        name,
                        schema=schema_of(self._pymilvus, spec),
                        index_params=parameters,
                        consistency_level=_STRONG,
                        properties={SPEC_PROPERTY: spec_to_json(spec), CREATED_PROPERTY: repr(time.time())},
                    )
        present = self.get(spec.name)
        check_same(present.spec, spec)
        return present

    def get(self, name: str) -> CollectionInfo:
        """The collection as it is now."""
        spec, created_at = self._require(name)
        with self._faults():
            rows = self._client.query(
                milvus_name(name), filter="", output_fields=["count(*)"], consistency_level=_STRONG
            )
        return CollectionInfo(spec, int(rows[0]["count(*)"]), created_at)

    def spec(self, name: str) -> CollectionSpec:
        """What the collection is."""
        return self._require(name)[0]

    def list(self) -> CollectionInfos:
        """All collections, by name."""
        return [self.get(name) for name in self._names()]

    def drop(self, name: str) -> None:
        """Forget the collection and all of its items; their pictures go with the next `sweep_pictures`."""
        self._require(name)
        with self._faults():
            self._client.drop_collection(milvus_name(name))

    def upsert(self, name: str, items: Sequence[NewItem], *, encoder_digest: str | None = None) -> ItemResults:
        """Keep items; Milvus has them when it returns."""
        spec, _ = self._require(name)
        check_encoder(spec, encoder_digest)
        ready = prepare_items(items, spec, self.settings)
        if not ready.items:
            return ready.results(())
        now_us = time.time_ns() // 1000
        if ready.pictures and self.pictures is not None:
            with self.pictures.kept(ready.pictures):
                return ready.results(self._upsert(name, ready.items, now_us))
        return ready.results(self._upsert(name, ready.items, now_us))

    def known(self, name: str, ids: Sequence[str]) -> dict[str, str | None]:
        """Those of the ids that are there, with the digests of their pictures."""
        self._require(name)
        entities = self._entities(name, ids, ["id", "picture_digest"])
        return {entity["id"]: entity["picture_digest"] or None for entity in entities}

    def get_item(self, name: str, item_id: str) -> StoredItem:
        """The item."""
        self._require(name)
        entities = self._entities(name, [item_id], list(ITEM_FIELDS))
        if not entities:
            raise item_not_found(name, item_id)
        return stored_item(entities[0])

    def delete_item(self, name: str, item_id: str) -> bool:
        """Forget the item; False when there was none."""
        if not self.known(name, [item_id]):
            return False
        with self._writing, self._faults():
            self._client.delete(milvus_name(name), ids=[item_id])
        return True

    def read_picture(self, name: str, digest: str) -> bytes:
        """The picture's file."""
        spec, _ = self._require(name)
        check_keeps_pictures(spec)
        data = None
        if self.pictures is not None and self._has_picture(milvus_name(name), digest):
            data = self.pictures.pictures.read(digest)
        if data is None:
            raise ItemNotFoundError(f"collection {name!r} keeps no picture {digest[:64]!r}")
        return data

    def search(self, name: str, query: SearchQuery) -> Hits:
        """The nearest items, nearest first."""
        spec, _ = self._require(name)
        vector = check_query(query, spec, self.settings)
        with self._faults():
            answers = self._client.search(
                milvus_name(name),
                data=[vector],
                anns_field="vector",
                limit=query.k,
                filter="" if query.filter is None else filter_to_expression(query.filter),
                output_fields=list(ITEM_FIELDS),
                search_params={**search_parameters(spec, query.effort, query.k), "metric_type": MEASURES[spec.metric]},
                consistency_level=_STRONG,
            )
        hits = []
        for answer in answers[0]:
            item = stored_item(answer["entity"])
            distance = float(answer["distance"])
            score = -math.sqrt(max(distance, 0.0)) if spec.metric == "l2" else distance
            hits.append(Hit(item.id, score, item.metadata, item.picture_digest, item.picture_stored))
        return sorted(hits, key=lambda hit: -hit.score)

    def warm(self) -> None:
        """Milvus keeps its collections loaded."""

    def sweep_pictures(self, older_than_s: float = 3600.0) -> int:
        """Remove pictures that no item of any collection refers to. Returns how many."""
        if self.pictures is None:
            return 0
        with storage_faults():
            return self.pictures.sweep(older_than_s)

    def close(self) -> None:
        """Let go of the connection. May be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._client.close()

    def _require(self, name: str) -> tuple[CollectionSpec, float]:
        with self._faults():
            there = milvus_name(name)
            if our_name(there) != name or not self._client.has_collection(there):
                raise not_found(name)
            return spec_of(self._client.describe_collection(there))

    def _names(self) -> Sequence[str]:
        with self._faults():
            found = (our_name(name) for name in self._client.list_collections() if name.startswith(PREFIX))
            return sorted(name for name in found if name is not None)

    def _upsert(self, name: str, items: Sequence[PreparedItem], now_us: int) -> Sequence[bool]:
        ids = [item.item_id for item in items]
        before = {entity["id"]: entity["created_us"] for entity in self._entities(name, ids, ["id", "created_us"])}
        with self._writing, self._faults():
            for some in _pieces(items):
                self._client.upsert(
                    milvus_name(name), [entity_of(item, before.get(item.item_id, now_us)) for item in some]
                )
        return [item_id not in before for item_id in ids]

    def _entities(self, name: str, ids: Sequence[str], fields: Sequence[str]) -> Sequence[dict[str, Any]]:
        """What Milvus keeps of these items; ids that no item can have are passed over."""
        possible = [item_id for item_id in ids if _is_possible(item_id)]
        found: list[dict[str, Any]] = []
        with self._faults():
            for start in range(0, len(possible), _IDS_AT_ONCE):
                some = ", ".join(quoted(item_id) for item_id in possible[start : start + _IDS_AT_ONCE])
                found += self._client.query(
                    milvus_name(name),
                    filter=f"id in [{some}]",
                    output_fields=list(fields),
                    consistency_level=_STRONG,
                )
        return found

    def _is_picture_used(self, digest: str) -> bool:
        return any(self._has_picture(milvus_name(name), digest) for name in self._names())

    def _has_picture(self, there: str, digest: str) -> bool:
        if len(digest) != 64 or not digest.isalnum():
            return False
        with self._faults():
            return bool(
                self._client.query(
                    there,
                    filter=f"picture_digest == {quoted(digest)} and picture_stored == true",
                    output_fields=["id"],
                    limit=1,
                    consistency_level=_STRONG,
                )
            )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn Milvus's faults into ours."""
        try:
            yield
        except VlpError:
            raise
        except Exception as error:
            if self._closed:
                raise UnavailableError("the store is closed") from error
            raise UnavailableError("the Milvus store does not answer as it should", detail=repr(error)) from error


def _pieces(items: Sequence[PreparedItem]) -> Iterator[Sequence[PreparedItem]]:
    """The items in order, in groups that fit a message."""
    start = size_bytes = 0
    for place, item in enumerate(items):
        # Metadata goes twice: as it is, and as facets.
        size = item.vector.nbytes + 2 * len(item.metadata.encode())
        if place > start and size_bytes + size > _BYTES_AT_ONCE:
            yield items[start:place]
            start, size_bytes = place, 0
        size_bytes += size
    yield items[start:]


def _is_possible(item_id: str) -> bool:
    try:
        check_item_id(item_id)
    except VlpError:
        return False
    return True


def _load_pymilvus(uri: str) -> Any:
    try:
        module = importlib.import_module("pymilvus")
        if "://" not in uri:
            importlib.import_module("milvus_lite")
    except ImportError as error:
        extra = "milvus" if "://" in uri else "milvus-lite"
        raise ConfigError(
            [f"store: {uri} needs {error.name or 'pymilvus'}, which is not installed; install vlpserve[{extra}]"]
        ) from error
    return module
