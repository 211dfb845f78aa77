"""sha256 of files and folders."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vlp_spec.errors import ArtifactError

_CHUNK = 1 << 20


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def folder_digests(folder: Path) -> dict[str, str]:
    """Path relative to `folder`, with slashes -> sha256 in hex, for every file below it; sorted by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def source_digest(path: Path) -> str:
    """One sha256 for a checkpoint: that of the file, or of the list of names and digests of a folder.

    Raises:
        ArtifactError: there is no such file or folder.
    """
    if path.is_file():
        return file_digest(path)
    if not path.is_dir():
        raise ArtifactError(f"checkpoint {path}: no such file or folder")
    digest = hashlib.sha256()
    for name, value in folder_digests(path).items():
        digest.update(f"{name}\0{value}\n".encode())
    return digest.hexdigest()
