from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from vlp_spec.files import file_digest, sync_path, write_synced


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Inodes, in the order in which they were brought to the disk."""
    inodes: list[int] = []
    real = os.fsync

    def watch(handle: int) -> None:
        inodes.append(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", watch)
    return inodes


def test_files_and_folders_are_synced(tmp_path: Path, synced: list[int]) -> None:
    write_synced(tmp_path / "a", "größer")
    sync_path(tmp_path)
    assert (tmp_path / "a").read_bytes() == "größer".encode()
    assert synced == [(tmp_path / "a").stat().st_ino, tmp_path.stat().st_ino]


def test_a_path_that_is_not_there_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync_path(tmp_path / "nothing")


def test_digests_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
