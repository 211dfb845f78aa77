"""A private folder in a repository, in which a deployment is put together before it is published.

Each staging folder holds a lock for as long as its process lives. One whose lock is free was left by a crash: the next
export takes back what it had already moved into place, and deletes it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAGING_DIR = ".staging"
_LOCK = "lock"
_JOURNAL = "journal.json"


@contextmanager
def staging_folder(root: Path) -> Iterator[Path]:
    """Make a staging folder below `root`, on the same file system; it is gone afterwards, whatever happened."""
    parent = root / STAGING_DIR
    parent.mkdir(parents=True, exist_ok=True)
    # Under the repository's lock, so that nobody who cleans up sees a folder that is not locked yet.
    with repository_lock(root):
        folder = Path(tempfile.mkdtemp(dir=parent))
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        roll_back(folder)
        os.close(lock)


@contextmanager
def repository_lock(root: Path) -> Iterator[None]:
    """Hold the repository for the short moment of a publication; waits for others, and ends with the process."""
    root.mkdir(parents=True, exist_ok=True)
    lock = os.open(root / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def write_journal(folder: Path, manifest: Path, targets: list[Path]) -> None:
    """Note what a publication is about to move into place, durably, so that a crash can be taken back.

    Args:
        folder: the staging folder.
        manifest: the file whose presence says that the publication was finished.
        targets: folders that belong to nobody else as long as the manifest is absent.
    """
    path = folder / _JOURNAL
    text = json.dumps({"manifest": str(manifest.absolute()), "targets": [str(target.absolute()) for target in targets]})
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    sync_folder(folder)


def roll_back(folder: Path) -> None:
    """Delete a staging folder, and what it had moved into place unless its publication was finished."""
    take_back(folder)
    shutil.rmtree(folder, ignore_errors=True)


def take_back(folder: Path) -> None:
    """Delete what a staging folder's journal names, unless its publication was finished; then the journal."""
    journal = folder / _JOURNAL
    try:
        noted = json.loads(journal.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        # No publication had begun, or the journal was torn: nothing is moved before it is whole and on disk.
        return
    if not Path(noted["manifest"]).exists():
        for target in noted["targets"]:
            shutil.rmtree(target, ignore_errors=True)
    journal.unlink(missing_ok=True)


def clean_leftovers(root: Path) -> None:
    """Take back the publications of processes that are gone. Call it with the repository lock held."""
    for folder in sorted((root / STAGING_DIR).glob("*")):
        lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            roll_back(folder)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)


def sync_tree(folder: Path) -> None:
    """Bring every file and folder below `folder`, and itself, to the disk."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            sync_folder(path)
        else:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk: a rename is not durable before."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
