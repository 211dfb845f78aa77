"""What an index needs from the database, and nothing else of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from vlp_server.index import item_rows
from vlp_server.index.collection_rows import CollectionRow
from vlp_server.index.database import Database
from vlp_server.index.scoring import Ids, Matrix


class VectorSource(Protocol):
    """The vectors of one collection, in one epoch."""

    def count(self) -> int:
        """How many there are."""

    def last_id(self) -> int:
        """The greatest id that was ever given."""

    def live_ids(self, through: int) -> Ids:
        """(n,) all ids up to this one, ascending."""

    def chunks(self, after: int, through: int) -> Iterator[tuple[Ids, Matrix]]:
        """All vectors with after < id <= through, ascending."""

    def read(self, ids: Ids) -> tuple[Ids, Matrix]:
        """The vectors of these ids; those that are gone are left out."""


class DatabaseVectors:
    """Reads them from SQLite, each call with a connection of its own."""

    def __init__(self, database: Database, collection: CollectionRow) -> None:
        self._database = database
        self._collection = collection.id
        self._parity = collection.parity

    def count(self) -> int:
        """How many there are."""
        with self._database.reader() as connection:
            return item_rows.count_items(connection, self._collection)

    def last_id(self) -> int:
        """The greatest id that was ever given."""
        with self._database.reader() as connection:
            return item_rows.last_id(connection)

    def live_ids(self, through: int) -> Ids:
        """(n,) all ids up to this one, ascending."""
        with self._database.reader() as connection:
            return item_rows.matching_ids(connection, self._collection, None, through=through)

    def chunks(self, after: int, through: int) -> Iterator[tuple[Ids, Matrix]]:
        """All vectors with after < id <= through, ascending."""
        with self._database.reader() as connection:
            yield from item_rows.vector_chunks(connection, self._collection, self._parity, after, through)

    def read(self, ids: Ids) -> tuple[Ids, Matrix]:
        """The vectors of these ids; those that are gone are left out."""
        with self._database.reader() as connection:
            return item_rows.read_vectors(connection, self._parity, ids)
