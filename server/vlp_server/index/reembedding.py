"""A collection gets the vectors of another encoder: made beside the old ones, and swapped in by one small commit.

Searches go on with the old vectors until then. What a killed process had written is kept, and the next one goes on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vlp_spec.errors import InvalidArgumentError, NoPicturesError

from vlp_server.index.collection_rows import (
    CollectionRow,
    check_spec,
    reembedded,
    require_collection,
    write_spec,
)
from vlp_server.index.local import LocalStore
from vlp_server.index.store import CollectionSpec, Vector
from vlp_server.index.vectors import prepare_vector

_PURGE_ROWS = 4096


@dataclass(frozen=True, slots=True)
class PendingItem:
    """An item that has no vector of the new encoder yet.

    Attributes:
        row: names it for `write`; an item that is updated meanwhile gets another.
        id: of the item.
        picture: the picture's file.
    """

    row: int
    id: str
    picture: bytes


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a re-embedding is.

    Attributes:
        items: of the collection.
        done: that have a vector of the new encoder.
        without_picture: that have none and cannot get one, because their pictures are not kept.
    """

    items: int
    done: int
    without_picture: int


class Reembedding:
    """One re-embedding, begun or gone on with.

    Args:
        store: that holds the collection.
        name: of the collection.
        model: name of the new encoder's model.
        encoder_digest: of the new encoder.
        dimension: of its vectors.

    Raises:
        CollectionNotFoundError: there is none of this name.
        InvalidArgumentError: the collection has vectors of this encoder already, or a bad dimension.
    """

    def __init__(self, store: LocalStore, name: str, *, model: str, encoder_digest: str, dimension: int) -> None:
        self._store = store
        row = store.opened(name).row
        self._spec = check_spec(replace(row.spec, model=model, encoder_digest=encoder_digest, dimension=dimension))
        if encoder_digest == row.spec.encoder_digest:
            raise InvalidArgumentError(
                f"collection {name!r} has vectors of the encoder {encoder_digest[:12]} already", field="encoder_digest"
            )
        if row.staged_spec != self._spec:
            # What lies at the other parity is of an older encoder, or of one that was given up.
            self._stage(row, None)
            self._purge(row, 1 - row.parity)
            self._stage(row, self._spec)
        self._row = row

    def pending(self, batch: int = 64) -> Iterator[list[PendingItem]]:
        """Items that still need a vector, some at a time; items without pictures are passed over.

        Those that are added or updated while this runs come too, unless they come after its end: then begin again.
        """
        after = 0
        while rows := self._unstaged(after, batch):
            after = rows[-1][0]
            items = []
            for identity, name, digest, stored in rows:
                picture = self._store.pictures.pictures.read(digest) if stored else None
                if picture is not None:
                    items.append(PendingItem(identity, name, picture))
            if items:
                yield items

    def write(self, vectors: Sequence[tuple[int, Vector]]) -> int:
        """Keep new vectors, by `PendingItem.row`; durable when it returns.

        Returns:
            How many were kept; items that were deleted or updated meanwhile are passed over.

        Raises:
            InvalidArgumentError: a vector that does not fit the new encoder.
            StorageFullError: the disk is full; none was kept.
        """
        ready = [(row, prepare_vector(vector, self._spec.dimension, self._spec.metric)) for row, vector in vectors]
        key = 1 - self._row.parity

        def insert(connection: sqlite3.Connection) -> int:
            row = self._current(connection)
            kept = 0
            for identity, vector in ready:
                kept += connection.execute(
                    "INSERT OR REPLACE INTO vectors (key, vector)"
                    " SELECT 2 * id + ?, ? FROM items WHERE id = ? AND collection = ?",
                    (key, vector.tobytes(), identity, row.id),
                ).rowcount
            return kept

        return self._store.writer.run(insert, size_bytes=sum(vector.nbytes for _, vector in ready))

    def progress(self) -> Progress:
        """How far it is."""
        with self._store.database.reader() as connection:
            return _progress(connection, self._row)

    def commit(self) -> None:
        """Swap the new vectors in, in one commit: searches then see all of the new ones and none of the old.

        Raises:
            NoPicturesError: items whose pictures are not kept have no new vector; delete them, or add them anew.
            InvalidArgumentError: other items have none yet; go on with `pending`.
        """

        def swap(connection: sqlite3.Connection) -> CollectionRow:
            row = self._current(connection)
            progress = _progress(connection, row)
            missing = progress.items - progress.done
            if missing and missing == progress.without_picture:
                raise NoPicturesError(
                    f"collection {row.spec.name!r}: {missing} items have no picture to embed anew; delete them first"
                )
            if missing:
                raise InvalidArgumentError(f"collection {row.spec.name!r}: {missing} items are not embedded yet")
            after = reembedded(row)
            write_spec(connection, after)
            return after

        row = self._store.writer.run(swap, self._store.replace)
        self._purge(row, 1 - row.parity)

    def abandon(self) -> None:
        """Forget the new vectors."""
        self._stage(self._row, None)
        self._purge(self._row, 1 - self._row.parity)

    def _stage(self, row: CollectionRow, spec: CollectionSpec | None) -> None:
        def write(connection: sqlite3.Connection) -> CollectionRow:
            present = replace(require_collection(connection, row.spec.name, row.uid), staged_spec=spec)
            write_spec(connection, present)
            return present

        self._store.writer.run(write, self._store.replace)

    def _current(self, connection: sqlite3.Connection) -> CollectionRow:
        row = require_collection(connection, self._row.spec.name, self._row.uid)
        if row.epoch != self._row.epoch or row.staged_spec != self._spec:
            raise InvalidArgumentError(f"collection {row.spec.name!r}: this re-embedding was replaced by another")
        return row

    def _unstaged(self, after: int, limit: int) -> list[tuple[int, str, str, int]]:
        with self._store.database.reader() as connection:
            return connection.execute(
                "SELECT id, item_id, picture_digest, picture_stored FROM items"
                " WHERE collection = ? AND id > ?"
                " AND NOT EXISTS (SELECT 1 FROM vectors WHERE key = 2 * items.id + ?) ORDER BY id LIMIT ?",
                (self._row.id, after, 1 - self._row.parity, limit),
            ).fetchall()

    def _purge(self, row: CollectionRow, parity: int) -> None:
        """Remove the vectors of one parity, in small steps."""
        after = 0

        def remove(connection: sqlite3.Connection) -> int:
            ids = connection.execute(
                "SELECT id FROM items WHERE collection = ? AND id > ? ORDER BY id LIMIT ?", (row.id, after, _PURGE_ROWS)
            ).fetchall()
            if not ids:
                return 0
            connection.executemany("DELETE FROM vectors WHERE key = ?", ((2 * one[0] + parity,) for one in ids))
            return int(ids[-1][0])

        while last := self._store.writer.run(remove):
            after = last


def _progress(connection: sqlite3.Connection, row: CollectionRow) -> Progress:
    items, done, without = connection.execute(
        "SELECT count(*), coalesce(sum(key IS NOT NULL), 0), coalesce(sum(key IS NULL AND NOT picture_stored), 0)"
        " FROM items LEFT JOIN vectors ON key = 2 * items.id + ? WHERE collection = ?",
        (1 - row.parity, row.id),
    ).fetchone()
    return Progress(items, done, without)
