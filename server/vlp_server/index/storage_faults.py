"""What the operating system and SQLite say when something cannot be written, in our errors."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from vlp_spec.errors import ArtifactError, InternalError, StorageFullError, UnavailableError, VlpError

_FULL = (errno.ENOSPC, errno.EDQUOT)
RETRY_AFTER_S = 60.0


def storage_fault(error: BaseException) -> VlpError:
    """The error of the tree that this one is: StorageFullError for a full disk, UnavailableError for a lock that was
    not let go in time, ArtifactError for a damaged database, InternalError for all else.
    """
    if isinstance(error, VlpError):
        return error
    full = isinstance(error, OSError) and error.errno in _FULL
    if isinstance(error, sqlite3.Error):
        # The low byte is the primary code; the extended ones say where it happened. SHMSIZE: no room for the index of
        # the log, which a store needs even to be read.
        extended = getattr(error, "sqlite_errorcode", 0)
        code = extended & 0xFF
        full = code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return ArtifactError(f"store: the database file is damaged ({error}); restore a backup")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return UnavailableError("the store is busy; try again", detail=repr(error))
    if full:
        return StorageFullError(
            "the disk is full; nothing of this write was kept, and all that was kept before is there",
            retry_after_s=RETRY_AFTER_S,
            detail=repr(error),
        )
    return InternalError(detail=f"storage: {error!r}")


@contextmanager
def storage_faults() -> Iterator[None]:
    """Turn faults of files and of SQLite into errors of the tree."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise storage_fault(error) from error
