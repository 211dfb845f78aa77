"""Connections to the SQLite file: one that writes, and a pool of those that read. All of them sync fully."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vlp_spec.errors import InternalError, UnavailableError
from vlp_spec.files import sync_path

from vlp_server.index.schema import migrate

# Three vectors of 512 floats fill a page; with SQLite's usual 4096 bytes it would be one, and half of the file air.
PAGE_BYTES = 8192
# A checkpoint costs two syncs; 32 MiB of log between two of them.
CHECKPOINT_PAGES = 4096
MAX_IDLE_READERS = 16
SYNCHRONOUS_FULL = 2


class Database:
    """A SQLite file in WAL mode: readers see the last commit, and neither wait for the writer nor hinder it.

    Args:
        path: of the file; made, or brought to the latest schema, when it is opened.
        busy_timeout_s: how long to wait for a lock of another process.

    Raises:
        ArtifactError: the file belongs to another program, or to a newer vlpserve.
    """

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self.path = path
        self._busy_timeout_s = busy_timeout_s
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self.writer = self.connect()
        try:
            migrate(self.writer)
            sync_path(path.parent)
        except BaseException:
            self.writer.close()
            raise

    def connect(self, *, query_only: bool = False) -> sqlite3.Connection:
        """A new connection, in autocommit mode, with full syncing; for one thread at a time."""
        connection = open_synced(self.path, self._busy_timeout_s)
        try:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_PAGES * PAGE_BYTES}")
            connection.execute(f"PRAGMA query_only = {int(query_only)}")
            level = connection.execute("PRAGMA synchronous").fetchone()[0]
            if mode != "wal" or level != SYNCHRONOUS_FULL:
                raise InternalError(detail=f"store: journal_mode {mode}, synchronous {level}; expected wal and 2")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def reader(self) -> Iterator[sqlite3.Connection]:
        """A connection that only reads, for the calling thread alone.

        Raises:
            UnavailableError: the store is closed.
        """
        with self._lock:
            if self._closed:
                raise UnavailableError("the store is closed")
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self.connect(query_only=True)
        try:
            yield connection
        finally:
            with self._lock:
                keep = not self._closed and len(self._idle) < MAX_IDLE_READERS and not connection.in_transaction
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def reopen_writer(self) -> sqlite3.Connection:
        """A fresh connection for the writer, after a fault that may have left the old one in an unknown state."""
        self.writer.close()
        self.writer = self.connect()
        return self.writer

    def close(self) -> None:
        """Close every connection that is not in use; the others close when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        self.writer.close()


def open_synced(path: Path, busy_timeout_s: float = 60.0) -> sqlite3.Connection:
    """A connection in autocommit mode that syncs fully, whatever this SQLite was compiled to do."""
    connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    return connection
