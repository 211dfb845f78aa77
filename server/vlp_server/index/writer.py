"""One thread that writes. What queues up while it syncs is committed together: several callers share one sync."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from vlp_spec.errors import UnavailableError, VlpError

from vlp_server.index.database import Database
from vlp_server.index.storage_faults import storage_fault

logger = logging.getLogger(__name__)
T = TypeVar("T")
MAX_GROUP = 64
# Bounds the log that one commit writes, and so the time that the first of a group waits for the last.
MAX_GROUP_BYTES = 32 * 1024 * 1024
MAX_QUEUED = 1024


@dataclass(frozen=True, slots=True)
class _Write:
    work: Callable[[sqlite3.Connection], Any]
    after: Callable[[Any], None] | None
    size_bytes: int
    done: Future[Any]


class Writer:
    """Runs pieces of work in transactions on the database's one writing connection.

    A piece that fails takes back its own changes and no others. A caller hears of success only after the commit is
    synced, and after `after` has run.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: queue.Queue[_Write | None] = queue.Queue(MAX_QUEUED)
        self._lock = threading.Lock()
        self._closed = False
        self.commits = 0
        # Groups whose commits were begun, and those of them that `after` was called for.
        self._begun = 0
        self._published = 0
        self._publication = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="vlp-store-writer", daemon=True)
        self._thread.start()

    def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        after: Callable[[T], None] | None = None,
        *,
        size_bytes: int = 0,
    ) -> T:
        """Do `work` in a transaction, and return what it returned once that is durable.

        Args:
            work: gets the connection, inside a transaction; must not commit.
            after: called in the writer's thread right after the commit, in the order of commits.
            size_bytes: about how much `work` writes.

        Raises:
            StorageFullError: the disk is full; nothing was kept.
            UnavailableError: the store is closed.
            VlpError: what `work` raised; InternalError where that was none of ours.
        """
        write = _Write(work, after, size_bytes, Future())
        with self._lock:
            if self._closed:
                raise UnavailableError("the store is closed")
            self._queue.put(write)
        result: T = write.done.result()
        return result

    def wait_published(self, timeout_s: float) -> None:
        """Wait until `after` was called for whatever the database shows now; for a reader that saw more than that."""
        with self._publication:
            begun = self._begun
            self._publication.wait_for(lambda: self._published >= begun, timeout_s)

    def close(self) -> None:
        """Finish what is queued, then stop."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            group, more = self._next_group()
            if group:
                self._commit(group)
            if not more:
                return

    def _next_group(self) -> tuple[list[_Write], bool]:
        """What is queued now, within bounds; waits for the first. False once the queue was closed."""
        group: list[_Write] = []
        size_bytes = 0
        while len(group) < MAX_GROUP and size_bytes < MAX_GROUP_BYTES:
            try:
                write = self._queue.get(block=not group)
            except queue.Empty:
                break
            if write is None:
                return group, False
            group.append(write)
            size_bytes += write.size_bytes
        return group, True

    def _commit(self, group: list[_Write]) -> None:
        connection = self._database.writer
        outcomes: list[tuple[_Write, Any, VlpError | None]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in group:
                outcomes.append((write, *_attempt(connection, write)))
            self._begun += 1
            connection.execute("COMMIT")
            self.commits += 1
        except Exception as error:
            fault = storage_fault(error)
            logger.error("a commit of %d writes failed: %r", len(group), error)
            self._take_back()
            outcomes = [(write, None, fault) for write in group]
        for write, result, fault_of_one in outcomes:
            _answer(write, result, fault_of_one)
        with self._publication:
            self._published = self._begun
            self._publication.notify_all()

    def _take_back(self) -> None:
        connection = self._database.writer
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            logger.exception("a rollback failed; the connection is opened anew")
            self._database.reopen_writer()


def _attempt(connection: sqlite3.Connection, write: _Write) -> tuple[Any, VlpError | None]:
    """Run one piece in a savepoint of its own.

    Raises:
        sqlite3.Error: SQLite ended the whole transaction (a full disk does), so the group cannot go on.
    """
    connection.execute("SAVEPOINT one")
    try:
        result = write.work(connection)
    except Exception as error:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        if not isinstance(error, VlpError):
            logger.exception("a write failed")
        return None, storage_fault(error)
    connection.execute("RELEASE one")
    return result, None


def _answer(write: _Write, result: Any, fault: VlpError | None) -> None:
    if fault is None and write.after is not None:
        try:
            write.after(result)
        except Exception as error:
            # It is durable all the same; but a caller who believed in success would look for it in vain.
            logger.exception("what follows a commit failed")
            fault = storage_fault(error)
    if fault is not None:
        write.done.set_exception(fault)
    else:
        write.done.set_result(result)
