"""The local store: SQLite is the truth, FAISS indexes are derived from it, pictures are files beside it.

store.sqlite3, lock, pictures/, indexes/ in one folder, which belongs to one process.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np
from vlp_spec.errors import ItemNotFoundError

from vlp_server.index import collection_rows, item_rows
from vlp_server.index.background import Background, Stopped
from vlp_server.index.collection_index import CollectionIndex
from vlp_server.index.collection_rows import CollectionRow, check_encoder, check_keeps_pictures, check_spec
from vlp_server.index.database import Database
from vlp_server.index.faiss_library import load_faiss
from vlp_server.index.filter_cache import FilterCache
from vlp_server.index.filters import Filter
from vlp_server.index.item_rows import PreparedItem, Written
from vlp_server.index.picture_keeping import PictureKeeper
from vlp_server.index.pictures import open_pictures
from vlp_server.index.preparation import prepare_items
from vlp_server.index.process_lock import ProcessLock
from vlp_server.index.query_checks import check_query
from vlp_server.index.schema import incarnation
from vlp_server.index.scoring import Found, Ids, Matrix
from vlp_server.index.settings import StoreSettings
from vlp_server.index.snapshots import Origin, SnapshotFolder, remove_strangers
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
from vlp_server.index.vector_source import DatabaseVectors
from vlp_server.index.writer import Writer

DATABASE = "store.sqlite3"
PICTURES = "pictures"
INDEXES = "indexes"
LOCK = "lock"
_PURGE_ROWS = 1000
_LEAST_ATTEMPTS, _MOST_ATTEMPTS = 4, 20
_RETRY_S = 0.05


class _Open:
    """A collection in use: its row, its index, and the results of its filters."""

    def __init__(self, row: CollectionRow, index: CollectionIndex, filters: FilterCache) -> None:
        self.row = row
        self.index = index
        self.filters = filters


class LocalStore:
    """A `VectorStore` in a folder. See the protocol for its methods.

    Args:
        root: the folder; made when it is not there.
        settings: limits and habits.

    Raises:
        ConfigError: another process uses the folder, or faiss is not installed.
        ArtifactError: the database belongs to another program, or to a newer vlpserve.
        StorageFullError: the disk is full.
    """

    def __init__(self, root: Path, settings: StoreSettings | None = None) -> None:
        self.root = root
        self.settings = settings or StoreSettings()
        load_faiss()
        pictures = open_pictures(self.settings.pictures_url or str(root / PICTURES))
        with storage_faults(), ExitStack() as undo:
            root.mkdir(parents=True, exist_ok=True)
            self._process_lock = ProcessLock(root / LOCK)
            undo.callback(self._process_lock.release)
            self.database = Database(root / DATABASE, self.settings.busy_timeout_s)
            undo.callback(self.database.close)
            with self.database.reader() as connection:
                self._incarnation = incarnation(connection)
                rows = collection_rows.all_collections(connection)
                dropped = collection_rows.dropped_collections(connection)
            undo.pop_all()
        self._lock = threading.Lock()
        self._closed = False
        self._open: dict[str, _Open] = {}
        self.writer = Writer(self.database)
        self.background = Background()
        self.pictures = PictureKeeper(pictures, self._is_picture_used)
        for row in rows:
            self._open[row.spec.name] = self._opened(row)
        remove_strangers(root / INDEXES, {_index_folder(row) for row in rows})
        for collection in dropped:
            self._ask_for_purge(collection)

    def create(self, spec: CollectionSpec) -> CollectionInfo:
        """Make a collection; nothing happens where the same is there already."""
        check_spec(spec)
        self.writer.run(lambda connection: collection_rows.insert_collection(connection, spec), self._add)
        return self.get(spec.name)

    def get(self, name: str) -> CollectionInfo:
        """The collection as it is now."""
        return self._describe(self.opened(name))

    def spec(self, name: str) -> CollectionSpec:
        """What the collection is."""
        return self.opened(name).row.spec

    def list(self) -> CollectionInfos:
        """All collections, by name."""
        with self._lock:
            opened = [self._open[name] for name in sorted(self._open)]
        return [self._describe(one) for one in opened]

    def drop(self, name: str) -> None:
        """Forget the collection and all of its items; their rows go in the background."""
        uid = self.opened(name).row.uid

        def take_name(connection: sqlite3.Connection) -> CollectionRow:
            row = collection_rows.require_collection(connection, name, uid)
            connection.execute("UPDATE collections SET name = NULL WHERE id = ?", (row.id,))
            return row

        row = self.writer.run(take_name, lambda _: self._forget(name))
        self._ask_for_purge(row.id)

    def upsert(self, name: str, items: Sequence[NewItem], *, encoder_digest: str | None = None) -> ItemResults:
        """Keep items; durable when it returns."""
        opened = self.opened(name)
        check_encoder(opened.row.spec, encoder_digest)
        ready = prepare_items(items, opened.row.spec, self.settings)
        if not ready.items:
            return ready.results(())
        row = opened.row
        vectors = np.stack([item.vector for item in ready.items])
        with self.pictures.kept(ready.pictures):
            written = self.writer.run(
                lambda connection: _write(connection, row, ready.items),
                lambda written: self._apply(row, written, vectors),
                size_bytes=ready.size_bytes,
            )
        self.pictures.release(written.unused_digests)
        return ready.results(written.created)

    def known(self, name: str, ids: Sequence[str]) -> dict[str, str | None]:
        """Those of the ids that are there, with the digests of their pictures."""
        row = self.opened(name).row
        with self.database.reader() as connection:
            return item_rows.known_items(connection, row.id, ids)

    def get_item(self, name: str, item_id: str) -> StoredItem:
        """The item."""
        row = self.opened(name).row
        with self.database.reader() as connection:
            item = item_rows.find_item(connection, row.id, item_id)
        if item is None:
            raise item_rows.item_not_found(name, item_id)
        return item

    def delete_item(self, name: str, item_id: str) -> bool:
        """Forget the item; False when there was none."""
        row = self.opened(name).row
        written = self.writer.run(
            lambda connection: item_rows.delete_item(
                connection, collection_rows.require_collection(connection, name, row.uid).id, item_id
            ),
            lambda written: self._apply(row, written, np.empty((0, row.spec.dimension), np.float32)),
        )
        self.pictures.release(written.unused_digests)
        return len(written.removed) > 0

    def read_picture(self, name: str, digest: str) -> bytes:
        """The picture's file."""
        row = self.opened(name).row
        check_keeps_pictures(row.spec)
        with self.database.reader() as connection:
            there = item_rows.has_picture(connection, row.id, digest)
        data = self.pictures.pictures.read(digest) if there else None
        if data is None:
            raise ItemNotFoundError(f"collection {name!r} keeps no picture {digest[:64]!r}")
        return data

    def search(self, name: str, query: SearchQuery) -> Hits:
        """The nearest items, nearest first."""
        opened = self.opened(name)
        vector = check_query(query, opened.row.spec, self.settings)
        wanted = query.k
        hits: Hits = []
        # Items may be deleted or replaced between the steps below; then they are taken once more, for a while.
        until_s = time.monotonic() + _RETRY_S
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            index, changes = opened.index, opened.index.changes
            allowed = None if query.filter is None else opened.filters.allowed(query.filter, index.last_id)
            found = index.search(vector, wanted, allowed, query.effort)
            hits = self._hits(found)
            gone = len(found.ids) - len(hits)
            ahead = allowed is not None and allowed.through > index.last_id
            steady = changes % 2 == 0 and changes == index.changes
            if steady and not gone and not ahead:
                break
            if attempt >= _LEAST_ATTEMPTS and time.monotonic() > until_s:
                break
            self.writer.wait_published(_RETRY_S)
            wanted = query.k + 2 * gone
        return hits[: query.k]

    def warm(self) -> None:
        """Read every index now, instead of with its first search."""
        with self._lock:
            opened = list(self._open.values())
        for one in opened:
            one.index.load()

    def settle(self, timeout_s: float = 600.0) -> bool:
        """Wait until no index is being built and nothing is being removed; False when it took longer."""
        return self.background.settle(timeout_s)

    def sweep_pictures(self, older_than_s: float = 3600.0) -> int:
        """Remove pictures that no item refers to: left by processes that were killed. Returns how many."""
        with storage_faults():
            return self.pictures.sweep(older_than_s)

    def close(self) -> None:
        """Finish what was begun and let go of files and connections. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            opened = list(self._open.values())
        self.background.close()
        self.writer.close()
        for one in opened:
            one.index.save()
        self.database.close()
        self._process_lock.release()

    def opened(self, name: str) -> _Open:
        """The collection of this name, for this package's own use.

        Raises:
            CollectionNotFoundError: there is none.
        """
        opened = self._open.get(name)
        if opened is None:
            raise collection_rows.not_found(name)
        return opened

    def replace(self, row: CollectionRow) -> None:
        """Take over a changed row; in the writer's thread, after the commit. A new epoch starts with a new index."""
        with self._lock:
            opened = self._open[row.spec.name]
            if opened.row.epoch == row.epoch:
                opened.row = row
            else:
                opened.index.retire()
                self._open[row.spec.name] = self._opened(row)

    def _apply(self, row: CollectionRow, written: Written, vectors: Matrix) -> None:
        """Let the index know of a commit; in the writer's thread."""
        opened = self._open.get(row.spec.name)
        if opened is not None and opened.row.uid == row.uid:
            opened.index.apply(written.ids, vectors, written.removed)

    def _add(self, row: CollectionRow) -> None:
        with self._lock:
            if row.spec.name not in self._open:
                self._open[row.spec.name] = self._opened(row)

    def _forget(self, name: str) -> None:
        with self._lock:
            opened = self._open.pop(name)
        opened.index.retire()

    def _opened(self, row: CollectionRow) -> _Open:
        spec = row.spec
        origin = Origin(self._incarnation, row.uid, row.epoch, spec.dimension, spec.metric, asdict(spec.index))
        index = CollectionIndex(
            spec,
            DatabaseVectors(self.database, row),
            SnapshotFolder(self.root / INDEXES / _index_folder(row), origin),
            self.settings,
            self._ask_for_build,
        )

        def match(condition: Filter, after: int) -> Ids:
            with self.database.reader() as connection:
                return item_rows.matching_ids(connection, row.id, condition, after)

        return _Open(row, index, FilterCache(self.settings.filter_cache_bytes, match))

    def _describe(self, opened: _Open) -> CollectionInfo:
        row = opened.row
        with self.database.reader() as connection:
            items = item_rows.count_items(connection, row.id)
        return CollectionInfo(row.spec, items, row.created_at, opened.index.describe())

    def _hits(self, found: Found) -> Hits:
        with self.database.reader() as connection:
            items = item_rows.read_items(connection, found.ids)
        return [
            Hit(item.id, float(score), item.metadata, item.picture_digest, item.picture_stored)
            for identity, score in zip(found.ids.tolist(), found.scores, strict=True)
            if (item := items.get(identity)) is not None
        ]

    def _is_picture_used(self, digest: str) -> bool:
        with self.database.reader() as connection:
            return item_rows.is_picture_used(connection, digest)

    def _ask_for_build(self, index: CollectionIndex) -> None:
        self.background.ask(index, index.maintain)

    def _ask_for_purge(self, collection: int) -> None:
        self.background.ask(("purge", collection), lambda stopped: self._purge(collection, stopped))

    def _purge(self, collection: int, stopped: Stopped) -> None:
        """Remove the rows of a dropped collection in small steps, so that no write waits long."""
        while not stopped():
            written = self.writer.run(lambda connection: item_rows.delete_some(connection, collection, _PURGE_ROWS))
            self.pictures.release(written.unused_digests)
            if not len(written.removed):
                self.writer.run(
                    lambda connection: connection.execute("DELETE FROM collections WHERE id = ?", (collection,))
                )
                return


def _write(connection: sqlite3.Connection, known: CollectionRow, items: Sequence[PreparedItem]) -> Written:
    """Write items into the collection as it was when they were checked.

    Raises:
        CollectionNotFoundError: it was dropped meanwhile.
        EncoderMismatchError: it was embedded anew meanwhile.
    """
    row = collection_rows.require_collection(connection, known.spec.name, known.uid)
    check_encoder(row.spec, known.spec.encoder_digest)
    return item_rows.upsert_items(connection, row.id, row.parity, items)


def _index_folder(row: CollectionRow) -> str:
    """Every epoch has its own, so that an index that is being retired never meets its successor."""
    return f"{row.uid}-{row.epoch}"
