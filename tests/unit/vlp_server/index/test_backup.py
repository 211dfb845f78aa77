import errno
import hashlib
import json
import threading

import pytest
from vector_items import SMALL, clustered, items_of, spec_of
from vlp_server.index import backup
from vlp_server.index.backup import back_up, read_summary, restore
from vlp_server.index.local import LocalStore
from vlp_server.index.settings import IndexSettings
from vlp_server.index.store import NewItem, SearchQuery
from vlp_spec.errors import ArtifactError, ConfigError, StorageFullError

VECTORS = clustered(300)
SPEC = spec_of(index=IndexSettings(flat_below=0))


@pytest.fixture
def full(store):
    """A store with 300 items, two of which share a picture."""
    store.create(SPEC)
    store.upsert("pictures", items_of(VECTORS))
    store.upsert("pictures", [NewItem(id=f"item-{n}", vector=VECTORS[n], picture=b"%d" % (n // 2)) for n in range(10)])
    assert store.settle(60)
    return store


def check_whole(root, **settings):
    """All of `full` is there."""
    opened = LocalStore(root, SMALL if not settings else type(SMALL)(**settings))
    try:
        assert opened.get("pictures").items == 300
        assert opened.get("pictures").spec == SPEC
        for n in range(10):
            digest = opened.get_item("pictures", f"item-{n}").picture_digest
            assert opened.read_picture("pictures", digest) == b"%d" % (n // 2)
        [hit] = opened.search("pictures", SearchQuery(vector=VECTORS[77], k=1))
        assert hit.id == "item-77"
        assert opened.settle(60)
    finally:
        opened.close()


def test_a_store_in_use_is_copied_and_put_back(full, tmp_path):
    reports = []
    summary = back_up(full.root, tmp_path / "backup", report=lambda done, of: reports.append((done, of)))
    assert (summary.collections, summary.items, summary.pictures) == (("pictures",), 300, 5)
    assert reports[-1] == (5, 5)
    assert read_summary(tmp_path / "backup") == summary
    full.drop("pictures")
    assert restore(tmp_path / "backup", tmp_path / "restored") == summary
    check_whole(tmp_path / "restored")


def test_pictures_elsewhere_are_in_the_backup_too(tmp_path):
    settings = {"pictures_url": str(tmp_path / "elsewhere")}
    store = LocalStore(tmp_path / "store", type(SMALL)(**settings))
    store.create(spec_of())
    store.upsert("pictures", [NewItem(id="a", vector=VECTORS[0], picture=b"a")])
    store.close()
    back_up(tmp_path / "store", tmp_path / "backup", **settings)
    restore(tmp_path / "backup", tmp_path / "restored", pictures_url=str(tmp_path / "third"))
    restored = LocalStore(tmp_path / "restored", type(SMALL)(pictures_url=str(tmp_path / "third")))
    assert restored.read_picture("pictures", hashlib.sha256(b"a").hexdigest()) == b"a"
    restored.close()


def test_a_copy_made_while_writing_is_one_moment(full, tmp_path):
    """Items are written in pairs: a copy has both of a pair or none."""
    done = threading.Event()

    def write():
        n = 0
        while not done.is_set():
            pair = [NewItem(id=f"{side}-{n}", vector=VECTORS[0], picture=b"pair %d" % n) for side in ("left", "right")]
            full.upsert("pictures", pair)
            n += 1

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for number in range(3):
            back_up(full.root, tmp_path / f"backup-{number}")
    finally:
        done.set()
        writing.join()
    for number in range(3):
        restore(tmp_path / f"backup-{number}", tmp_path / f"restored-{number}")
        restored = LocalStore(tmp_path / f"restored-{number}", SMALL)
        count = restored.get("pictures").items - 300
        assert count % 2 == 0
        for n in range(count // 2):
            left, right = (restored.get_item("pictures", f"{side}-{n}") for side in ("left", "right"))
            assert left.picture_digest == right.picture_digest
            assert restored.read_picture("pictures", left.picture_digest) == b"pair %d" % n
        restored.close()


def test_an_index_of_the_old_history_is_not_taken_for_the_new(full, tmp_path):
    """The restored store goes on from an earlier moment; ids are given again, for other vectors."""
    back_up(full.root, tmp_path / "backup")
    full.upsert("pictures", items_of(clustered(150, seed=8), first=1000))
    assert full.settle(60)
    full.close()
    restore(tmp_path / "backup", tmp_path / "restored")
    (full.root / "indexes").rename(tmp_path / "restored" / "indexes")
    restored = LocalStore(tmp_path / "restored", SMALL)
    restored.upsert("pictures", items_of(clustered(150, seed=9), first=2000))
    for vector in clustered(150, seed=9)[::10]:
        [hit] = restored.search("pictures", SearchQuery(vector=vector, k=1))
        assert hit.metadata["n"] >= 2000
    restored.close()


def test_a_backup_needs_a_store_and_a_folder_of_its_own(full, tmp_path):
    with pytest.raises(ArtifactError, match="no store"):
        back_up(tmp_path / "nowhere", tmp_path / "backup")
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "something").touch()
    with pytest.raises(ArtifactError, match="not empty"):
        back_up(full.root, tmp_path / "backup")
    (tmp_path / "backup" / "something").unlink()
    back_up(full.root, tmp_path / "backup")


def test_a_backup_that_breaks_off_leaves_nothing(full, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(backup, "write_synced", broken)
    with pytest.raises(StorageFullError):
        back_up(full.root, tmp_path / "backup")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("backup")]


def test_a_restore_never_overwrites_a_store(full, tmp_path):
    back_up(full.root, tmp_path / "backup")
    with pytest.raises(ArtifactError, match="already"):
        restore(tmp_path / "backup", full.root)
    (full.root / "store.sqlite3").rename(full.root / "aside")
    with pytest.raises(ConfigError, match="in use"):
        restore(tmp_path / "backup", full.root)


def spoil_database(folder):
    path = folder / "store.sqlite3"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)


def spoil_picture(folder):
    path = next(iter((folder / "pictures").glob("??/*")))
    path.write_bytes(b"another")


def change_format(folder):
    manifest = json.loads((folder / "backup.json").read_text())
    (folder / "backup.json").write_text(json.dumps({**manifest, "format": 2}))


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_database,
        spoil_picture,
        change_format,
        lambda folder: (folder / "backup.json").unlink(),
        lambda folder: (folder / "backup.json").write_text("[]"),
        lambda folder: (folder / "backup.json").write_text("{}"),
        lambda folder: (folder / "store.sqlite3").unlink(),
        lambda folder: next(iter((folder / "pictures").glob("??/*"))).unlink(),
    ],
)
def test_a_damaged_backup_is_refused_and_leaves_no_store(full, tmp_path, spoil):
    back_up(full.root, tmp_path / "backup")
    spoil(tmp_path / "backup")
    with pytest.raises(ArtifactError):
        restore(tmp_path / "backup", tmp_path / "restored")
    assert not (tmp_path / "restored" / "store.sqlite3").exists()
