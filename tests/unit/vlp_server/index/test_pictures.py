import errno
import hashlib
import os

import pytest
from vlp_server.index.picture_keeping import PictureKeeper
from vlp_server.index.pictures import FolderPictures, digest_of, open_pictures
from vlp_spec.errors import ConfigError, StorageFullError

FILES = {hashlib.sha256(data).hexdigest(): data for data in (b"", b"one", b"two" * 1000)}


@pytest.fixture(params=["folder", "file", "fsspec"])
def pictures(request, tmp_path):
    if request.param == "folder":
        return open_pictures(str(tmp_path / "a" / "pictures"))
    if request.param == "file":
        return open_pictures(f"file://{tmp_path}/pictures")
    return open_pictures(f"memory://{tmp_path.name}")


def test_keeps_reads_lists_and_deletes(pictures):
    assert list(pictures.listed()) == []
    pictures.put(FILES)
    pictures.put(FILES)
    assert {digest: pictures.read(digest) for digest, _ in pictures.listed()} == FILES
    first, *others = FILES
    pictures.delete([first, "0" * 64])
    assert pictures.read(first) is None
    assert {digest for digest, _ in pictures.listed()} == set(others)


def test_nothing_but_a_digest_is_a_name(pictures):
    for name in ("../../etc/passwd", "", "0" * 63, "G" * 64):
        with pytest.raises(ValueError, match="no sha256"):
            pictures.read(name)


def test_a_protocol_that_is_not_there_is_a_fault_of_configuration():
    with pytest.raises(ConfigError, match="pictures_url"):
        open_pictures("nonsense://bucket/prefix")


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    pictures = FolderPictures(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFullError):
        pictures.put(FILES)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_a_killed_process_left_is_removed_when_it_is_old(tmp_path):
    pictures = FolderPictures(tmp_path)
    pictures.put(FILES)
    left = tmp_path / next(iter(FILES))[:2] / ".new-left"
    left.write_bytes(b"half")
    assert len(list(pictures.listed())) == len(FILES)
    pictures.remove_leftovers(3600.0)
    assert left.exists()
    pictures.remove_leftovers(-1.0)
    assert not left.exists()


def test_a_picture_that_an_upsert_is_about_to_refer_to_is_not_removed(tmp_path):
    used = set()
    keeper = PictureKeeper(FolderPictures(tmp_path), used.__contains__)
    digest = digest_of(b"one")
    with keeper.kept({digest: b"one"}):
        keeper.release([digest])
        assert keeper.sweep(-10.0) == 0
        used.add(digest)
    keeper.release([digest])
    assert keeper.pictures.read(digest) == b"one"
    used.clear()
    keeper.release([digest])
    assert keeper.pictures.read(digest) is None


def test_a_sweep_leaves_alone_an_old_file_that_was_just_put_again(tmp_path):
    """Another process may be about to refer to it: with Milvus there are several."""
    pictures = FolderPictures(tmp_path)
    digest = digest_of(b"one")
    pictures.put({digest: b"one"})
    os.utime(tmp_path / digest[:2] / digest, (0, 0))
    pictures.put({digest: b"one"})
    assert PictureKeeper(pictures, lambda _: False).sweep(3600.0) == 0
