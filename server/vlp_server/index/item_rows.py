"""Items as rows of SQLite: writing, reading and finding them. See `schema` for what ids and keys mean."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from vlp_spec.errors import ItemNotFoundError

from vlp_server.index.filter_sql import filter_to_sql
from vlp_server.index.filters import Filter
from vlp_server.index.metadata import decode_metadata
from vlp_server.index.scoring import Ids, Matrix
from vlp_server.index.store import StoredItem, Vector

CHUNK = 4096
MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class PreparedItem:
    """An item that passed every check.

    Attributes:
        item_id: unique in its collection.
        vector: (dimension,) float32, as it is kept and compared.
        metadata: JSON text.
        picture_digest: sha256 of its picture.
        picture_stored: whether the picture is kept.
    """

    item_id: str
    vector: Vector
    metadata: str
    picture_digest: str | None
    picture_stored: bool


@dataclass(frozen=True, slots=True)
class Written:
    """What an upsert or a deletion did.

    Attributes:
        ids: of the new rows, in the order of the items; ascending.
        created: for each item, whether its id was not there before.
        removed: ids of rows that are gone.
        unused_digests: pictures that these rows had; other rows may have them still.
    """

    ids: Ids
    created: tuple[bool, ...]
    removed: Ids
    unused_digests: frozenset[str]


def upsert_items(
    connection: sqlite3.Connection, collection: int, parity: int, items: Sequence[PreparedItem]
) -> Written:
    """Write items, replacing those of the same names. Their names differ from each other.

    Args:
        connection: inside a transaction.
        collection: row of the collection.
        parity: of its vectors' keys.
        items: to write.
    """
    names = json.dumps([item.item_id for item in items])
    old = {
        name: (identity, digest, created_at)
        for identity, name, digest, created_at in connection.execute(
            "SELECT id, item_id, picture_digest, created_at FROM items"
            " WHERE collection = ? AND item_id IN (SELECT value FROM json_each(?))",
            (collection, names),
        )
    }
    removed = np.array(sorted(entry[0] for entry in old.values()), np.int64)
    _delete_rows(connection, removed)
    first = last_id(connection) + 1
    now = time.time()
    connection.executemany(
        "INSERT INTO items (id, collection, item_id, metadata, picture_digest, picture_stored, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (
                first + place,
                collection,
                item.item_id,
                item.metadata,
                item.picture_digest,
                item.picture_stored,
                old[item.item_id][2] if item.item_id in old else now,
            )
            for place, item in enumerate(items)
        ),
    )
    connection.executemany(
        "INSERT INTO vectors (key, vector) VALUES (?, ?)",
        ((2 * (first + place) + parity, item.vector.tobytes()) for place, item in enumerate(items)),
    )
    return Written(
        ids=np.arange(first, first + len(items), dtype=np.int64),
        created=tuple(item.item_id not in old for item in items),
        removed=removed,
        unused_digests=frozenset(entry[1] for entry in old.values() if entry[1] is not None),
    )


def delete_item(connection: sqlite3.Connection, collection: int, item_id: str) -> Written:
    """Remove one item; `removed` is empty when there was none."""
    rows = connection.execute(
        "SELECT id, picture_digest FROM items WHERE collection = ? AND item_id = ?", (collection, item_id)
    ).fetchall()
    return _remove(connection, rows)


def delete_some(connection: sqlite3.Connection, collection: int, limit: int) -> Written:
    """Remove up to `limit` items of a collection that was dropped."""
    rows = connection.execute(
        "SELECT id, picture_digest FROM items WHERE collection = ? LIMIT ?", (collection, limit)
    ).fetchall()
    return _remove(connection, rows)


def _remove(connection: sqlite3.Connection, rows: Sequence[tuple[int, str | None]]) -> Written:
    removed = np.array(sorted(row[0] for row in rows), np.int64)
    _delete_rows(connection, removed)
    digests = frozenset(row[1] for row in rows if row[1] is not None)
    return Written(np.empty(0, np.int64), (), removed, digests)


def _delete_rows(connection: sqlite3.Connection, ids: Ids) -> None:
    if not len(ids):
        return
    listed = json.dumps(ids.tolist())
    keys = json.dumps([*(2 * ids).tolist(), *(2 * ids + 1).tolist()])
    connection.execute("DELETE FROM items WHERE id IN (SELECT value FROM json_each(?))", (listed,))
    connection.execute("DELETE FROM vectors WHERE key IN (SELECT value FROM json_each(?))", (keys,))


def count_items(connection: sqlite3.Connection, collection: int) -> int:
    """Items of the collection."""
    row = connection.execute("SELECT count(*) FROM items WHERE collection = ?", (collection,)).fetchone()
    return int(row[0])


def last_id(connection: sqlite3.Connection) -> int:
    """The greatest id that was ever given, in any collection."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'items'").fetchone()
    return 0 if row is None else int(row[0])


def find_item(connection: sqlite3.Connection, collection: int, item_id: str) -> StoredItem | None:
    """The item, if it is there."""
    row = connection.execute(
        "SELECT item_id, metadata, picture_digest, picture_stored, created_at FROM items"
        " WHERE collection = ? AND item_id = ?",
        (collection, item_id),
    ).fetchone()
    return None if row is None else _stored(row)


def item_not_found(name: str, item_id: str) -> ItemNotFoundError:
    """The error for an id that no item of the collection has."""
    shown = item_id if len(item_id) <= 256 else item_id[:253] + "..."
    return ItemNotFoundError(f"item {shown!r}: there is none of this id in the collection {name!r}")


def known_items(connection: sqlite3.Connection, collection: int, names: Sequence[str]) -> dict[str, str | None]:
    """Those of the names that are there, with their pictures' digests."""
    rows = connection.execute(
        "SELECT item_id, picture_digest FROM items WHERE collection = ?"
        " AND item_id IN (SELECT value FROM json_each(?))",
        (collection, json.dumps(list(names))),
    )
    return dict(rows.fetchall())


def read_items(connection: sqlite3.Connection, ids: Ids) -> dict[int, StoredItem]:
    """The items of these rows; those that are gone are left out."""
    rows = connection.execute(
        "SELECT id, item_id, metadata, picture_digest, picture_stored, created_at FROM items"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(ids.tolist()),),
    )
    return {row[0]: _stored(row[1:]) for row in rows}


def matching_ids(
    connection: sqlite3.Connection, collection: int, condition: Filter | None, after: int = 0, through: int = MAX_ID
) -> Ids:
    """Rows with after < id <= through that match the condition, ascending.

    SQLite joins them into one text, in one step without Python's lock: many times faster than a row each.
    """
    clause, bound = ("1", []) if condition is None else filter_to_sql(condition)
    row = connection.execute(
        f"SELECT group_concat(id) FROM items WHERE collection = ? AND id > ? AND id <= ? AND {clause}",
        (collection, after, through, *bound),
    ).fetchone()
    if row[0] is None:
        return np.empty(0, np.int64)
    ids = np.fromstring(str(row[0]), dtype=np.int64, sep=",")
    return np.sort(ids)


def vector_chunks(
    connection: sqlite3.Connection, collection: int, parity: int, after: int, through: int
) -> Iterator[tuple[Ids, Matrix]]:
    """All vectors with after < id <= through, ascending, some thousands at a time.

    Every chunk is a transaction of its own, so that a long read does not hold back checkpoints.
    """
    while True:
        rows = connection.execute(
            "SELECT items.id, vector FROM items INDEXED BY items_by_collection"
            " JOIN vectors ON vectors.key = 2 * items.id + ?"
            " WHERE collection = ? AND items.id > ? AND items.id <= ? ORDER BY items.id LIMIT ?",
            (parity, collection, after, through, CHUNK),
        ).fetchall()
        if not rows:
            return
        yield _arrays(rows)
        after = rows[-1][0]


def read_vectors(connection: sqlite3.Connection, parity: int, ids: Ids) -> tuple[Ids, Matrix]:
    """The vectors of these rows; those that are gone are left out.

    Returns:
        (n,) ids, and (n, dimension) float32.
    """
    rows = connection.execute(
        "SELECT (key - ?) / 2, vector FROM vectors WHERE key IN (SELECT value FROM json_each(?))",
        (parity, json.dumps((2 * ids + parity).tolist())),
    ).fetchall()
    return _arrays(rows)


def is_picture_used(connection: sqlite3.Connection, digest: str) -> bool:
    """Whether any item of any collection keeps this picture."""
    row = connection.execute(
        "SELECT 1 FROM items WHERE picture_digest = ? AND picture_stored LIMIT 1", (digest,)
    ).fetchone()
    return row is not None


def has_picture(connection: sqlite3.Connection, collection: int, digest: str) -> bool:
    """Whether an item of this collection keeps this picture."""
    row = connection.execute(
        "SELECT 1 FROM items WHERE picture_digest = ? AND picture_stored AND collection = ? LIMIT 1",
        (digest, collection),
    ).fetchone()
    return row is not None


def _arrays(rows: Sequence[tuple[int, bytes]]) -> tuple[Ids, Matrix]:
    ids = np.array([row[0] for row in rows], np.int64)
    if not rows:
        return ids, np.empty((0, 0), np.float32)
    matrix = np.frombuffer(b"".join([row[1] for row in rows]), "<f4").reshape(len(rows), -1)
    return ids, matrix


def _stored(row: tuple[str, str, str | None, int, float]) -> StoredItem:
    name, metadata, digest, stored, created_at = row
    return StoredItem(name, decode_metadata(metadata), digest, bool(stored), created_at)
