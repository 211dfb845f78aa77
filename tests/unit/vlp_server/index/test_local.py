"""What is special about the local store; the rest is in tests/contract/index."""

import hashlib
import json
import threading

import pytest
from vector_items import SMALL, clustered, items_of, spec_of
from vlp_server.index.database import Database
from vlp_server.index.local import DATABASE, LocalStore
from vlp_server.index.store import NewItem, SearchQuery
from vlp_spec.errors import CollectionNotFoundError, InvalidArgumentError, UnavailableError

VECTORS = clustered(50)
PICTURE = b"a picture"
DIGEST = hashlib.sha256(PICTURE).hexdigest()


def rows(store):
    with store.database.reader() as connection:
        return [
            connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("collections", "items", "vectors")
        ]


def test_a_drop_removes_rows_and_pictures_that_no_other_collection_has(store):
    for name in ("one", "two"):
        store.create(spec_of(name))
    other = hashlib.sha256(b"other").hexdigest()
    store.upsert("one", [NewItem(id="a", vector=VECTORS[0], picture=PICTURE)])
    store.upsert("one", [NewItem(id="b", vector=VECTORS[0], picture=b"other")])
    store.upsert("two", [NewItem(id="a", vector=VECTORS[0], picture=PICTURE)])
    store.drop("one")
    assert store.settle(60)
    assert rows(store) == [1, 1, 1]
    assert store.read_picture("two", DIGEST) == PICTURE
    assert store.pictures.pictures.read(other) is None


def test_a_removal_that_was_cut_off_goes_on_at_the_next_start(store):
    store.create(spec_of())
    store.upsert("pictures", items_of(VECTORS))
    store.background.close()  # nothing is removed in this process any more
    store.drop("pictures")
    assert rows(store) == [1, 50, 50]
    store.close()
    (store.root / "indexes" / "left-behind").mkdir(parents=True)
    again = LocalStore(store.root, SMALL)
    try:
        assert again.list() == []
        again.create(spec_of())
        assert again.settle(60)
        assert rows(again) == [1, 0, 0]
        assert not list((store.root / "indexes").iterdir())
    finally:
        again.close()


def test_a_start_that_fails_lets_go_of_the_folder(store):
    store.create(spec_of())
    good = store.writer.run(lambda connection: connection.execute("SELECT spec FROM collections").fetchone()[0])
    store.writer.run(lambda connection: connection.execute("UPDATE collections SET spec = ?", ("{",)))
    store.close()
    with pytest.raises(json.JSONDecodeError):
        LocalStore(store.root, SMALL)
    database = Database(store.root / DATABASE, 1.0)
    database.writer.execute("UPDATE collections SET spec = ?", (good,))
    database.close()
    LocalStore(store.root, SMALL).close()


def test_a_closed_store_says_so(store):
    store.create(spec_of())
    store.upsert("pictures", items_of(VECTORS))
    store.close()
    store.close()
    for call in (
        lambda: store.get("pictures"),
        lambda: store.create(spec_of("other")),
        lambda: store.upsert("pictures", items_of(VECTORS)),
        lambda: store.search("pictures", SearchQuery(vector=VECTORS[0])),
        lambda: store.delete_item("pictures", "item-1"),
    ):
        with pytest.raises(UnavailableError):
            call()


def test_writes_into_a_collection_that_is_dropped_and_made_again_never_mix(store):
    """Every upsert either says that there is no collection or lands whole in the one of its dimension."""
    faults, done = [], threading.Event()

    def once(vectors):
        results = store.upsert("pictures", items_of(vectors))
        assert len({result.status == "failed" for result in results}) == 1
        store.search("pictures", SearchQuery(vector=vectors[0], k=3))

    def write(dimension):
        vectors = clustered(3, dimension)
        while not done.is_set():
            try:
                once(vectors)
            except (CollectionNotFoundError, InvalidArgumentError):
                continue
            except BaseException as error:
                faults.append(error)

    threads = [threading.Thread(target=write, args=(dimension,)) for dimension in (4, 8)]
    for thread in threads:
        thread.start()
    for n in range(30):
        store.create(spec_of(dimension=(4, 8)[n % 2]))
        store.drop("pictures")
    done.set()
    for thread in threads:
        thread.join()
    assert not faults
    assert store.settle(60)
    assert rows(store) == [0, 0, 0]
