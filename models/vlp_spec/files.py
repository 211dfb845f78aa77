"""What several packages do with files: name their content, and make it survive a loss of power."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_path(path: Path) -> None:
    """Bring a file's content, or a folder's entries, to the disk: a new or renamed file is not durable before both."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_synced(path: Path, text: str) -> None:
    """Write a text in UTF-8 and bring it to the disk; the entry in its folder is synced apart."""
    path.write_text(text, encoding="utf-8")
    sync_path(path)
