"""A private folder in a repository, in which a deployment is put together before it is published.

Each staging folder holds a lock for as long as its process lives. One whose lock is free was left by a crash: the next
export takes back what it had already moved into place, and deletes it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vlp_spec.deployment import check_name
from vlp_spec.errors import ArtifactError
from vlp_spec.files import sync_path, write_synced

STAGING_DIR = ".staging"
_LOCK = "lock"
_JOURNAL = "journal.json"
_MANIFEST = re.compile(r"deployments/[^/]+/[1-9][0-9]*\.json")
_TARGET = re.compile(r"model_repository/[^/]+(/[1-9][0-9]*)?|deployments/[^/]+/[1-9][0-9]*")


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
        roll_back(root, folder)
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


def write_journal(root: Path, folder: Path, manifest: Path, targets: list[Path]) -> None:
    """Note what a publication is about to move into place, durably, so that a crash can be taken back.

    Paths are noted relative to the repository: a copy of it must not speak of the original.

    Args:
        root: the repository.
        folder: the staging folder.
        manifest: the file whose presence says that the publication was finished.
        targets: folders that belong to nobody else as long as the manifest is absent.
    """
    noted = {
        "manifest": manifest.relative_to(root).as_posix(),
        "targets": [target.relative_to(root).as_posix() for target in targets],
    }
    write_synced(folder / _JOURNAL, json.dumps(noted))
    sync_path(folder)


def roll_back(root: Path, folder: Path) -> None:
    """Delete a staging folder, and what it had moved into place unless its publication was finished."""
    take_back(root, folder)
    shutil.rmtree(folder, ignore_errors=True)


def take_back(root: Path, folder: Path) -> None:
    """Delete what a staging folder's journal names, unless its publication was finished; then the journal."""
    journal = folder / _JOURNAL
    try:
        manifest, targets = _read_journal(root, journal.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError, RecursionError, ArtifactError):
        # No publication had begun, or the journal was torn: nothing is moved before it is whole and on disk. One that
        # names anything else than a publication's own folders was not written here, and is not obeyed.
        return
    if not manifest.exists():
        for target in targets:
            shutil.rmtree(target, ignore_errors=True)
    journal.unlink(missing_ok=True)


def _read_journal(root: Path, text: str) -> tuple[Path, list[Path]]:
    """The manifest and the targets that a journal notes.

    Raises:
        ValueError, TypeError, KeyError, ArtifactError: it is none, or it names what no publication moves.
    """
    noted = json.loads(text)
    manifest = _checked_path(root, noted["manifest"], _MANIFEST)
    return manifest, [_checked_path(root, target, _TARGET) for target in noted["targets"]]


def _checked_path(root: Path, noted: str, shape: re.Pattern[str]) -> Path:
    found = shape.fullmatch(noted)
    if found is None:
        raise ValueError(f"{noted!r}: not a path of a publication")
    check_name(noted.split("/")[1])
    return root / noted


def clean_leftovers(root: Path) -> None:
    """Take back the publications of processes that are gone. Call it with the repository lock held."""
    for folder in sorted((root / STAGING_DIR).glob("*")):
        if folder.is_symlink() or not folder.is_dir():
            continue
        try:
            lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
        except OSError:  # another user's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            roll_back(root, folder)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)


def sync_tree(folder: Path) -> None:
    """Bring every file and folder below `folder`, and itself, to the disk."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync_path(path)
    sync_path(folder)
