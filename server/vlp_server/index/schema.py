"""The tables of the local store, as a list of migrations. A migration is never changed once it was released.

Two rules hold the derived indexes together:
- `items.id` is given once and never again (AUTOINCREMENT), and an update makes a new row. So an id stands for one
  vector and one state of the metadata for ever; whoever remembers something about an id can only find it gone.
- The vector of an item has the key 2 * id + (epoch of the collection) % 2. A re-embedding writes the other parity
  beside, and becomes visible by one change of the epoch, however many vectors there are.
"""

from __future__ import annotations

import sqlite3
import uuid

from vlp_spec.errors import ArtifactError

APPLICATION_ID = 0x766C7073
"""Says that a SQLite file is ours ("vlps")."""

_FIRST = (
    "CREATE TABLE store (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # A dropped collection has no name; its rows go in small steps afterwards.
    "CREATE TABLE collections (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, uid TEXT NOT NULL UNIQUE,"
    " spec TEXT NOT NULL, epoch INTEGER NOT NULL DEFAULT 0, created_at REAL NOT NULL)",
    "CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, collection INTEGER NOT NULL REFERENCES collections(id),"
    " item_id TEXT NOT NULL, metadata TEXT NOT NULL, picture_digest TEXT, created_at REAL NOT NULL)",
    "CREATE UNIQUE INDEX items_by_name ON items (collection, item_id)",
    "CREATE INDEX items_by_collection ON items (collection)",
    # Apart from the items: a look at metadata then reads no vectors.
    "CREATE TABLE vectors (key INTEGER PRIMARY KEY, vector BLOB NOT NULL)",
)
_PICTURES = (
    "ALTER TABLE items ADD COLUMN picture_stored INTEGER NOT NULL DEFAULT 0",
    "UPDATE items SET picture_stored = 1 WHERE picture_digest IS NOT NULL",
    "CREATE INDEX items_by_picture ON items (picture_digest) WHERE picture_digest IS NOT NULL",
)
_REEMBEDDING = ("ALTER TABLE collections ADD COLUMN staged_spec TEXT",)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _PICTURES, _REEMBEDDING)
"""Statements that lead from version i to i + 1; `PRAGMA user_version` counts those that were run."""


def schema_version(connection: sqlite3.Connection) -> int:
    """How many migrations this file has seen."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """Bring the file to the latest version, each step in one transaction.

    Args:
        connection: in autocommit mode.
        migrations: for tests that stop earlier.

    Raises:
        ArtifactError: another program's file, or one of a newer vlpserve.
    """
    version = schema_version(connection)
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    strange = owner != APPLICATION_ID and (version > 0 or _has_tables(connection))
    if strange:
        raise ArtifactError("store: the database file belongs to another program")
    if version > len(migrations):
        raise ArtifactError(
            f"store: the database has schema version {version}, and this vlpserve knows {len(migrations)}; "
            "it was written by a newer one"
        )
    for step in range(version, len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migrations[step]:
                connection.execute(statement)
            if step == 0:
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute("INSERT INTO store VALUES ('incarnation', ?)", (uuid.uuid4().hex,))
            connection.execute(f"PRAGMA user_version = {step + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def incarnation(connection: sqlite3.Connection) -> str:
    """Names this line of history: a restored copy has another, so that no index of the old line fits it."""
    row = connection.execute("SELECT value FROM store WHERE key = 'incarnation'").fetchone()
    return str(row[0])


def renew_incarnation(connection: sqlite3.Connection) -> None:
    """Begin a new line of history."""
    connection.execute("UPDATE store SET value = ? WHERE key = 'incarnation'", (uuid.uuid4().hex,))


def _has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
