"""From a flat tail to a built index and back from disk, while writes and searches go on."""

import json
import shutil
import threading

import numpy as np
import pytest
from vector_items import SMALL, clustered, exact_ids, items_of, spec_of
from vlp_server.index import collection_index, local, snapshots
from vlp_server.index.filters import parse_filter
from vlp_server.index.local import LocalStore
from vlp_server.index.settings import IndexSettings
from vlp_server.index.store import NewItem, SearchEffort, SearchQuery
from vlp_server.index.tail import Tail
from vlp_spec.errors import InternalError, UnavailableError

VECTORS = clustered(1200)
QUERIES = clustered(10, seed=5)
GRAPH = spec_of(metric="l2", index=IndexSettings(kind="hnsw", flat_below=500, ef_search=200))


def add(store, first, end, name="pictures"):
    for start in range(first, end, 300):
        results = store.upsert(name, items_of(VECTORS[start : min(end, start + 300)], start))
        assert all(result.error is None for result in results)


def found(store, query, k=10, **members):
    return [hit.id for hit in store.search("pictures", SearchQuery(vector=query, k=k, **members))]


def check_recall(store, count, at_least=0.95):
    """Searches find what is near among the first `count`, and every item finds itself."""
    hits = [len(set(found(store, query)) & set(exact_ids(VECTORS[:count], query, "l2", 10))) for query in QUERIES]
    assert sum(hits) >= at_least * 10 * len(QUERIES)
    for n in range(0, count, 37):
        assert found(store, VECTORS[n], 1) == [f"item-{n}"]


def saved(store):
    return sorted((store.root / "indexes").glob("*/*/note.json"))


def test_grows_from_a_tail_to_flat_to_a_graph(store):
    store.create(GRAPH)
    kinds = []
    for first, end in ((0, 50), (50, 300), (300, 1200)):
        add(store, first, end)
        assert store.settle(60)
        kinds.append(store.get("pictures").index.kind)
        check_recall(store, end)
    assert kinds == [None, "flat", "hnsw"]
    state = store.get("pictures").index
    assert state.built_items + state.tail_items == 1200
    assert state.tail_items <= SMALL.tail_items
    assert not state.building


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf_pq"])
def test_every_kind_is_built_and_read_back(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("vlp_server.index.building.MIN_FOR_CODES", 256)
    spec = spec_of(metric="l2", index=IndexSettings(kind=kind, flat_below=0, pq_bytes=4, ef_search=200, nprobe=30))
    store = LocalStore(tmp_path / "store", SMALL)
    store.create(spec)
    add(store, 0, 1200)
    assert store.settle(60)
    assert store.get("pictures").index.kind == kind
    check_recall(store, 1200, 0.9)
    store.close()
    built = []
    monkeypatch.setattr(collection_index, "empty_index", lambda *arguments: built.append(arguments))
    store = LocalStore(tmp_path / "store", SMALL)
    try:
        check_recall(store, 1200, 0.9)
        if kind != "flat":
            assert store.get("pictures").index.built_items == len(np.load(saved(store)[0].parent / "ids.npy"))
            assert store.settle(60)
            assert not built
    finally:
        monkeypatch.undo()
        store.close()


@pytest.fixture
def full(tmp_path):
    """The folder of a closed store with 1200 items and a saved graph."""
    store = LocalStore(tmp_path / "store", SMALL)
    store.create(GRAPH)
    add(store, 0, 1200)
    assert store.settle(60)
    store.close()
    assert len(saved(store)) == 1
    return store.root


def forget(root):
    shutil.rmtree(root / "indexes")


def flip_a_byte(root):
    [index] = root.glob("indexes/*/*/index.faiss")
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 1
    index.write_bytes(content)


def cut_off(root):
    [index] = root.glob("indexes/*/*/index.faiss")
    index.write_bytes(index.read_bytes()[:1000])


def lose_the_ids(root):
    [ids] = root.glob("indexes/*/*/ids.npy")
    ids.unlink()


def spoil_the_note(root):
    [note] = root.glob("indexes/*/*/note.json")
    note.write_text("{")


def change_the_note(**changes):
    def change(root):
        [path] = root.glob("indexes/*/*/note.json")
        note = json.loads(path.read_text())
        for name, value in changes.items():
            (note if name in note else note["origin"])[name] = value
        path.write_text(json.dumps(note))

    return change


def lack_an_item(root):
    """An index that is whole, but not of all items."""
    [path] = root.glob("indexes/*/*/ids.npy")
    ids = np.load(path)
    ids[500:] += 100_000
    np.save(path, ids)
    [note] = root.glob("indexes/*/*/note.json")
    members = json.loads(note.read_text())
    members["crc32"]["ids.npy"] = snapshots._checksum(path)
    note.write_text(json.dumps(members))


@pytest.mark.parametrize(
    "spoil",
    [
        forget,
        flip_a_byte,
        cut_off,
        lose_the_ids,
        spoil_the_note,
        lack_an_item,
        change_the_note(format=2),
        change_the_note(incarnation="another"),
        change_the_note(epoch=1),
        change_the_note(through=10**9),
    ],
)
def test_an_index_that_is_missing_damaged_or_stale_is_built_anew(full, spoil):
    spoil(full)
    store = LocalStore(full, SMALL)
    try:
        check_recall(store, 1200)
        assert store.settle(60)
        state = store.get("pictures").index
        assert (state.kind, state.built_items) == ("hnsw", 1200)
        check_recall(store, 1200)
    finally:
        store.close()
    assert len(saved(store)) == 1


def test_what_was_written_after_the_index_was_saved_is_found(full):
    shutil.copytree(full / "indexes", full.parent / "older")
    store = LocalStore(full, SMALL)
    store.upsert("pictures", [NewItem(id="new", vector=np.full(8, 9, np.float32))])
    store.upsert("pictures", [NewItem(id="item-1", vector=np.full(8, -9, np.float32))])
    store.delete_item("pictures", "item-2")
    store.close()
    shutil.rmtree(full / "indexes")
    (full.parent / "older").rename(full / "indexes")
    store = LocalStore(full, SMALL)
    try:
        assert found(store, np.full(8, 9, np.float32), 1) == ["new"]
        assert found(store, np.full(8, -9, np.float32), 1) == ["item-1"]
        assert "item-2" not in found(store, VECTORS[2], 1200)
        assert len(found(store, VECTORS[1], 1200)) == 1200
        assert store.get("pictures").index.built_items > 0
    finally:
        store.close()


def test_a_save_that_breaks_off_leaves_the_one_before(full, monkeypatch):
    before = sorted(full.glob("indexes/*/*/note.json"))
    (before[0].parent.parent / "new-left-by-a-killed-process").mkdir()
    store = LocalStore(full, SMALL)

    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshots, "sync_path", broken)
    store.warm()
    add(store, 0, 1200)
    assert store.settle(60)
    check_recall(store, 1200)
    store.close()
    assert sorted(full.glob("indexes/*/*/note.json")) == before
    monkeypatch.undo()
    store = LocalStore(full, SMALL)
    try:
        check_recall(store, 1200)
        assert store.settle(60)
    finally:
        store.close()
    assert not list(full.glob("indexes/*/new-*"))


class Gate:
    """Holds a build before or after it reads and adds vectors, until it is opened."""

    def __init__(self, monkeypatch, *, after=False):
        self.reached, self.opened = threading.Event(), threading.Event()
        real = collection_index.fill_index

        def fill(*arguments):
            ids = real(*arguments) if after else None
            self.reached.set()
            assert self.opened.wait(60)
            return real(*arguments) if ids is None else ids

        monkeypatch.setattr(collection_index, "fill_index", fill)


@pytest.mark.parametrize("after", [False, True])
def test_searches_and_writes_go_on_while_an_index_is_built(store, monkeypatch, after):
    # A graph from the beginning: later builds go on from it, deleted items and all.
    store.create(spec_of(metric="l2", index=IndexSettings(kind="hnsw", flat_below=0, ef_search=200)))
    gate = Gate(monkeypatch, after=after)
    add(store, 0, 600)
    assert gate.reached.wait(60)
    try:
        assert store.get("pictures").index.building
        check_recall(store, 600)
        add(store, 600, 900)
        assert store.delete_item("pictures", "item-5")
        assert store.delete_item("pictures", "item-205")
        store.upsert("pictures", [NewItem(id="item-6", vector=np.full(8, 9, np.float32), metadata={"n": 6})])
        assert found(store, np.full(8, 9, np.float32), 1) == ["item-6"]
        assert len(found(store, QUERIES[0], 2000)) == 898
    finally:
        gate.opened.set()
    assert store.settle(60)
    assert store.get("pictures").index.kind == "hnsw"
    state = store.get("pictures").index
    # None that is gone counts as being there: else k hits might not come back.
    assert state.built_items + state.tail_items - state.deleted_items == 898
    everything = found(store, QUERIES[0], 2000, effort=SearchEffort(exact=True))
    assert set(everything) == {f"item-{n}" for n in range(900)} - {"item-5", "item-205"}
    assert len(everything) == len(set(everything))
    assert found(store, np.full(8, 9, np.float32), 1) == ["item-6"]
    assert found(store, VECTORS[6], 1) != ["item-6"]


def test_closing_does_not_wait_for_a_build(tmp_path, monkeypatch):
    store = LocalStore(tmp_path / "store", SMALL)
    store.create(GRAPH)
    gate = Gate(monkeypatch)
    add(store, 0, 600)
    assert gate.reached.wait(60)
    closing = threading.Thread(target=store.close)
    closing.start()
    gate.opened.set()
    closing.join(60)
    assert not closing.is_alive()
    with pytest.raises(UnavailableError):
        found(store, QUERIES[0])
    store = LocalStore(tmp_path / "store", SMALL)
    check_recall(store, 600)
    store.close()


def test_a_dropped_collections_build_stops_and_leaves_no_files(store, monkeypatch):
    store.create(GRAPH)
    gate = Gate(monkeypatch)
    add(store, 0, 600)
    assert gate.reached.wait(60)
    store.drop("pictures")
    gate.opened.set()
    assert store.settle(60)
    assert not saved(store)
    with store.database.reader() as connection:
        for table in ("collections", "items", "vectors"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_a_build_that_fails_leaves_searches_as_they_were(store, monkeypatch):
    store.create(GRAPH)

    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(collection_index, "fill_index", fails)
    add(store, 0, 600)
    assert store.settle(60)
    check_recall(store, 600)
    assert store.get("pictures").index.built_items == 0
    assert not store.get("pictures").index.building


@pytest.mark.parametrize("building", [False, True])
def test_a_write_that_the_index_could_not_take_over_is_found_all_the_same(store, monkeypatch, building):
    """It is durable by then, though its caller hears of a fault."""
    store.create(GRAPH)
    gate = Gate(monkeypatch) if building else None
    add(store, 0, 300)
    if gate is not None:
        assert gate.reached.wait(60)
    else:
        assert store.settle(60)
    with monkeypatch.context() as patch:
        patch.setattr(Tail, "append", lambda *_: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(InternalError):
            store.upsert("pictures", items_of(VECTORS[295:310], 295))
    if gate is not None:
        gate.opened.set()
        assert store.settle(60)
    check_recall(store, 310)
    everything = found(store, QUERIES[0], 500)
    assert len(everything) == len(set(everything)) == 310


def test_many_deletions_lead_to_a_new_index_without_them(store):
    store.create(GRAPH)
    add(store, 0, 1200)
    assert store.settle(60)
    for n in range(0, 1200, 3):
        assert store.delete_item("pictures", f"item-{n}")
    assert store.settle(60)
    state = store.get("pictures").index
    assert state.deleted_items <= 0.2 * 1200 + 1
    assert len(found(store, QUERIES[0], 2000)) == 800


@pytest.mark.parametrize("condition", [None, {"n": 9}])
def test_a_search_sees_one_whole_state_while_an_item_is_replaced(store, condition, monkeypatch):
    """The nearest item is written again and again: no search finds it missing, and none finds it twice."""
    store.create(GRAPH)
    target = np.full(8, 9, np.float32)
    faults, done = [], threading.Event()

    def search():
        while not done.is_set():
            hits = found(store, target, 3, filter=chosen)
            if hits[:1] != ["target"] or len(set(hits)) != 3 - 2 * (chosen is not None):
                faults.append(hits)

    monkeypatch.setattr(local, "_RETRY_S", 10.0)  # on a busy machine a thread may be left standing for long
    chosen = None if condition is None else parse_filter(condition)
    add(store, 0, 50)
    store.delete_item("pictures", "item-9")
    store.upsert("pictures", [NewItem(id="target", vector=target, metadata={"n": 9})])
    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for version in range(200):
        store.upsert("pictures", [NewItem(id="target", vector=target, metadata={"n": 9, "v": version})])
    done.set()
    for thread in threads:
        thread.join()
    assert not faults
