"""Copies of a local store: made while it is in use, and put back into an empty folder.

backup.json (written last), store.sqlite3, pictures/ in one folder. Indexes are derived, and not in it.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from vlp_spec.errors import ArtifactError
from vlp_spec.files import file_digest, sync_path, write_synced

from vlp_server.index.database import open_synced
from vlp_server.index.local import DATABASE, LOCK, PICTURES
from vlp_server.index.pictures import FolderPictures, Pictures, digest_of, open_pictures
from vlp_server.index.process_lock import ProcessLock
from vlp_server.index.schema import APPLICATION_ID, renew_incarnation, schema_version
from vlp_server.index.storage_faults import storage_faults

FORMAT = 1
MANIFEST = "backup.json"
_PICTURES_AT_ONCE = 64
Report = Callable[[int, int], None]
"""Called with pictures that are done, and all of them."""


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """What a backup holds.

    Attributes:
        format: of the backup.
        schema: version of the database.
        created_at: seconds since the epoch.
        collections: their names.
        items: of all collections.
        pictures: files.
        database_sha256: of store.sqlite3.
    """

    format: int
    schema: int
    created_at: float
    collections: tuple[str, ...]
    items: int
    pictures: int
    database_sha256: str


def back_up(root: Path, target: Path, *, pictures_url: str = "", report: Report | None = None) -> BackupSummary:
    """Copy a store, of this process or of another one that serves from it.

    The copy is the state of one moment. Pictures follow; an item that is deleted meanwhile may lose its picture in
    the copy, and is then marked so.

    Args:
        root: of the store.
        target: a folder that is not there or is empty.
        pictures_url: as in the store's settings.
        report: told how far it is.

    Raises:
        ArtifactError: no store there, or `target` is not empty.
        StorageFullError: the disk is full; nothing is left of the copy.
    """
    if not (root / DATABASE).is_file():
        raise ArtifactError(f"{root}: there is no store here ({DATABASE} is missing)")
    if target.exists() and any(target.iterdir()):
        raise ArtifactError(f"{target}: not empty; a backup wants a folder of its own")
    beside = target.with_name(f"{target.name}.new-{uuid.uuid4().hex}")
    with storage_faults():
        try:
            beside.mkdir(parents=True)
            _copy_database(root / DATABASE, beside / DATABASE)
            source = open_pictures(pictures_url or str(root / PICTURES))
            copied = _copy_pictures(beside, source, report)
            summary = _summary(beside, copied)
            write_synced(beside / MANIFEST, json.dumps(asdict(summary), indent=1))
            sync_path(beside)
            if target.exists():
                target.rmdir()
            beside.rename(target)
            sync_path(target.parent)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    return summary


def restore(source: Path, root: Path, *, pictures_url: str = "", report: Report | None = None) -> BackupSummary:
    """Make a store of a backup. It begins a history of its own: no index of the old one is taken for its.

    Args:
        source: a backup.
        root: of the new store; must hold none.
        pictures_url: where its pictures go.
        report: told how far it is.

    Raises:
        ArtifactError: not a whole backup, a damaged one, or there is a store already.
        ConfigError: a process uses the folder.
        StorageFullError: the disk is full.
    """
    summary = read_summary(source)
    if (root / DATABASE).exists():
        raise ArtifactError(f"{root}: there is a store here already; restore into an empty folder")
    if not (source / DATABASE).is_file() or file_digest(source / DATABASE) != summary.database_sha256:
        raise ArtifactError(f"{source}: {DATABASE} is missing or damaged")
    with storage_faults():
        root.mkdir(parents=True, exist_ok=True)
        lock = ProcessLock(root / LOCK)
        beside = root / f"{DATABASE}.new"
        try:
            restored = _restore_pictures(source, open_pictures(pictures_url or str(root / PICTURES)), report)
            if restored < summary.pictures:
                raise ArtifactError(f"{source}: {summary.pictures - restored} of its pictures are missing")
            shutil.copyfile(source / DATABASE, beside)
            with closing(open_synced(beside)) as connection:
                _check_database(connection, source)
                renew_incarnation(connection)
            sync_path(beside)
            # Last: before this the folder holds no store.
            beside.rename(root / DATABASE)
            sync_path(root)
        finally:
            beside.unlink(missing_ok=True)
            lock.release()
    return summary


def read_summary(source: Path) -> BackupSummary:
    """What a backup says of itself.

    Raises:
        ArtifactError: it is no whole backup, or one of a newer vlpserve.
    """
    try:
        members = json.loads((source / MANIFEST).read_text())
        summary = BackupSummary(**{**members, "collections": tuple(members["collections"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{source}: not a whole backup ({MANIFEST}: {error})") from error
    if summary.format != FORMAT:
        raise ArtifactError(f"{source}: backup format {summary.format}, this vlpserve knows {FORMAT}")
    return summary


def _copy_database(source: Path, target: Path) -> None:
    with closing(open_synced(source)) as reading, closing(open_synced(target)) as writing:
        reading.execute("PRAGMA query_only = 1")
        if reading.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise ArtifactError(f"{source}: the database file belongs to another program")
        # All pages in one step: a reader's view of one moment, however much is written meanwhile.
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode = DELETE")
    sync_path(target)


def _copy_pictures(beside: Path, source: Pictures, report: Report | None) -> int:
    target = FolderPictures(beside / PICTURES)
    lost: list[str] = []
    copied = 0
    with closing(open_synced(beside / DATABASE)) as connection:
        digests = [
            row[0] for row in connection.execute("SELECT DISTINCT picture_digest FROM items WHERE picture_stored")
        ]
        for some in _groups(digests):
            there = {digest: data for digest in some if (data := source.read(digest)) is not None}
            lost += [digest for digest in some if digest not in there]
            target.put(there)
            copied += len(there)
            if report is not None:
                report(copied + len(lost), len(digests))
        connection.execute("BEGIN")
        for digest in lost:
            connection.execute("UPDATE items SET picture_stored = 0 WHERE picture_digest = ?", (digest,))
        connection.execute("COMMIT")
    sync_path(beside / DATABASE)
    return copied


def _restore_pictures(source: Path, target: Pictures, report: Report | None) -> int:
    stored = FolderPictures(source / PICTURES)
    digests = [digest for digest, _ in stored.listed()]
    done = 0
    for some in _groups(digests):
        read = {digest: stored.read(digest) or b"" for digest in some}
        damaged = [digest for digest, data in read.items() if digest_of(data) != digest]
        if damaged:
            raise ArtifactError(f"{source}: the picture {damaged[0]} is damaged")
        target.put(read)
        done += len(some)
        if report is not None:
            report(done, len(digests))
    return done


def _summary(folder: Path, pictures: int) -> BackupSummary:
    with closing(open_synced(folder / DATABASE)) as connection:
        names = connection.execute("SELECT name FROM collections WHERE name IS NOT NULL ORDER BY name").fetchall()
        items = connection.execute(
            "SELECT count(*) FROM items JOIN collections ON collections.id = collection WHERE name IS NOT NULL"
        ).fetchone()[0]
        version = schema_version(connection)
    return BackupSummary(
        FORMAT,
        version,
        time.time(),
        tuple(name[0] for name in names),
        items,
        pictures,
        file_digest(folder / DATABASE),
    )


def _check_database(connection: sqlite3.Connection, source: Path) -> None:
    verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        raise ArtifactError(f"{source}: {DATABASE} is damaged: {verdict}")


def _groups(digests: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(digests), _PICTURES_AT_ONCE):
        yield digests[start : start + _PICTURES_AT_ONCE]
