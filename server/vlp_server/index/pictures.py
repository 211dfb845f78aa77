"""Pictures as files named by their sha256, in a folder or in an object store. It knows nothing of items."""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from vlp_spec.errors import ConfigError
from vlp_spec.files import sync_path

from vlp_server.index.storage_faults import storage_faults

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = ".new-"
# Syncs of several files wait for the disk side by side.
_WRITERS = 8


class Pictures(Protocol):
    """All methods block and may be called by several threads at a time."""

    def put(self, pictures: Mapping[str, bytes]) -> None:
        """Keep files under their digests; durable when it returns. Those that are there count as written now.

        Raises:
            StorageFullError: the disk is full.
        """

    def read(self, digest: str) -> bytes | None:
        """The file, or None."""

    def delete(self, digests: Iterable[str]) -> None:
        """Remove files; those that are not there are passed over."""

    def listed(self) -> Iterator[tuple[str, float]]:
        """Every digest, and when it was written, seconds since the epoch."""

    def remove_leftovers(self, older_than_s: float) -> None:
        """Remove what a killed process left half-written."""


def digest_of(data: bytes) -> str:
    """sha256 in hex."""
    return hashlib.sha256(data).hexdigest()


def open_pictures(url: str) -> Pictures:
    """The place that a setting names: a folder, or an fsspec URL (s3://bucket/prefix, memory://x).

    Raises:
        ConfigError: no such protocol, or its package is not installed.
    """
    if "://" not in url:
        return FolderPictures(Path(url))
    if url.startswith("file://"):
        return FolderPictures(Path(url.removeprefix("file://")))
    return RemotePictures(url)


class FolderPictures:
    """Files in 256 folders; each is written beside, synced, renamed, and its folder synced."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, pictures: Mapping[str, bytes]) -> None:
        """Keep files under their digests; durable when it returns."""
        with storage_faults():
            folders = {self._path(digest).parent for digest in pictures}
            self._make(folders)
            missing = [digest for digest in pictures if not _touched(self._path(digest))]
            if len(missing) == 1:
                self._write(missing[0], pictures[missing[0]])
            elif missing:
                with ThreadPoolExecutor(min(_WRITERS, len(missing)), "vlp-pictures") as pool:
                    list(pool.map(lambda digest: self._write(digest, pictures[digest]), missing))
            # Also for those that are there: whoever renamed them may have been killed before this step.
            for folder in folders:
                sync_path(folder)

    def read(self, digest: str) -> bytes | None:
        """The file, or None."""
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError:
            return None

    def delete(self, digests: Iterable[str]) -> None:
        """Remove files; those that are not there are passed over."""
        for digest in digests:
            self._path(digest).unlink(missing_ok=True)

    def listed(self) -> Iterator[tuple[str, float]]:
        """Every digest, and when it was written."""
        for path in self._root.glob("??/*"):
            if _DIGEST.fullmatch(path.name):
                try:
                    yield path.name, path.stat().st_mtime
                except FileNotFoundError:
                    continue

    def remove_leftovers(self, older_than_s: float) -> None:
        """Remove what a killed process left half-written."""
        limit = time.time() - older_than_s
        for path in self._root.glob(f"??/{_TEMPORARY}*"):
            try:
                if path.stat().st_mtime <= limit:
                    path.unlink()
            except FileNotFoundError:
                continue

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is no sha256")
        return self._root / digest[:2] / digest

    def _make(self, folders: Iterable[Path]) -> None:
        if not self._root.exists():
            self._root.mkdir(parents=True, exist_ok=True)
            sync_path(self._root.parent)
        new = [folder for folder in folders if not folder.exists()]
        for folder in new:
            folder.mkdir(exist_ok=True)
        if new:
            sync_path(self._root)

    def _write(self, digest: str, data: bytes) -> None:
        path = self._path(digest)
        beside = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
        try:
            with beside.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            beside.rename(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def _touched(path: Path) -> bool:
    """Whether the file is there; it is then as young as if it had just been written, and no sweep takes it."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


class RemotePictures:
    """Objects of a store that fsspec reaches. Such a store shows an object when all of it is there and durable."""

    def __init__(self, url: str) -> None:
        import fsspec

        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError([f"store.pictures_url: {url!r}: {error}"]) from error
        self._root = root.rstrip("/")

    def put(self, pictures: Mapping[str, bytes]) -> None:
        """Keep objects under their digests; durable when it returns."""
        with storage_faults():
            for digest, data in pictures.items():
                self._files.pipe_file(self._path(digest), data)

    def read(self, digest: str) -> bytes | None:
        """The object, or None."""
        try:
            data: bytes = self._files.cat_file(self._path(digest))
        except FileNotFoundError:
            return None
        return data

    def delete(self, digests: Iterable[str]) -> None:
        """Remove objects; those that are not there are passed over."""
        for digest in digests:
            try:
                self._files.rm_file(self._path(digest))
            except FileNotFoundError:
                continue

    def listed(self) -> Iterator[tuple[str, float]]:
        """Every digest, and when it was written; now, where the store does not say."""
        try:
            found: dict[str, dict[str, Any]] = self._files.find(self._root, detail=True)
        except FileNotFoundError:
            return
        for path, details in found.items():
            name = path.rpartition("/")[2]
            if _DIGEST.fullmatch(name):
                yield name, _written_at(details)

    def remove_leftovers(self, older_than_s: float) -> None:
        """Nothing: a broken upload leaves no object."""

    def _path(self, digest: str) -> str:
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is no sha256")
        return f"{self._root}/{digest[:2]}/{digest}"


def _written_at(details: Mapping[str, Any]) -> float:
    for key in ("mtime", "LastModified", "updated", "created"):
        value = details.get(key)
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, datetime):
            return value.timestamp()
    return time.time()
