import hashlib
import threading

import numpy as np
import pytest
from vector_items import DIGEST, OTHER_DIGEST, clustered, exact_ids, items_of, spec_of, statuses
from vlp_server.index.store import NewItem, SearchQuery
from vlp_spec.errors import (
    EncoderMismatchError,
    InvalidArgumentError,
    ItemNotFoundError,
    NoPicturesError,
    TooLargeError,
)

PICTURE = b"a picture's file"
PICTURE_DIGEST = hashlib.sha256(PICTURE).hexdigest()
VECTOR = clustered(1)[0]


@pytest.fixture
def pictures(store):
    """The store, with a collection."""
    store.create(spec_of())
    return store


def test_what_is_put_in_comes_out(pictures):
    metadata = {"text": 'ä "quoted" \\ and \n', "n": 2**53 + 1, "x": 0.1, "deep": {"list": [1, None, True, {"a": []}]}}
    [result] = pictures.upsert("pictures", [NewItem(id="ä b:1%2F?", vector=VECTOR, metadata=metadata)])
    assert (result.id, result.status, result.error) == ("ä b:1%2F?", "created", None)
    item = pictures.get_item("pictures", "ä b:1%2F?")
    assert item.metadata == metadata
    assert (item.picture_digest, item.picture_stored) == (None, False)


def test_the_same_id_again_replaces_the_item_and_keeps_its_age(pictures):
    near, far = np.eye(8, dtype=np.float32)[:2]
    pictures.upsert("pictures", [NewItem(id="a", vector=near, metadata={"v": 1}, picture=PICTURE)])
    before = pictures.get_item("pictures", "a")
    assert statuses(pictures.upsert("pictures", [NewItem(id="a", vector=far, metadata={"v": 2})])) == ["updated"]
    after = pictures.get_item("pictures", "a")
    assert (after.metadata, after.created_at, after.picture_stored) == ({"v": 2}, before.created_at, False)
    [hit] = pictures.search("pictures", SearchQuery(vector=far, k=5))
    assert hit.score == pytest.approx(1.0, abs=1e-6)
    assert hit.metadata == {"v": 2}
    assert pictures.get("pictures").items == 1


def test_one_bad_item_does_not_hinder_the_others(pictures):
    nan, infinite = VECTOR.copy(), VECTOR.copy()
    nan[3], infinite[0] = np.nan, np.inf
    bad = [
        NewItem(id="a/b", vector=VECTOR),
        NewItem(id="", vector=VECTOR),
        NewItem(id="..", vector=VECTOR),
        NewItem(id="a\0", vector=VECTOR),
        NewItem(id="x" * 257, vector=VECTOR),
        NewItem(id="short", vector=VECTOR[:7]),
        NewItem(id="matrix", vector=VECTOR[None]),
        NewItem(id="nan", vector=nan),
        NewItem(id="infinite", vector=infinite),
        NewItem(id="zero", vector=np.zeros(8, np.float32)),
        NewItem(id="huge", vector=np.full(8, 1e30, np.float32)),
        NewItem(id="words", vector=["a"] * 8),
        NewItem(id="no-object", vector=VECTOR, metadata=[1]),
        NewItem(id="no-json", vector=VECTOR, metadata={"a": object()}),
        NewItem(id="nan-metadata", vector=VECTOR, metadata={"a": float("nan")}),
        NewItem(id="big-integer", vector=VECTOR, metadata={"a": 2**63}),
        NewItem(id="nul", vector=VECTOR, metadata={"a": "\0"}),
        NewItem(id="surrogate", vector=VECTOR, metadata={"a": "\ud800"}),
        NewItem(id="key", vector=VECTOR, metadata={1: 1}),
        NewItem(id="deep", vector=VECTOR, metadata=_nested(40)),
        NewItem(id="digest", vector=VECTOR, picture_digest="xyz"),
        NewItem(id="another", vector=VECTOR, picture=PICTURE, picture_digest="0" * 64),
    ]
    results = pictures.upsert("pictures", [NewItem(id="first", vector=VECTOR), *bad, NewItem(id="last", vector=VECTOR)])
    assert [result.id for result in results] == ["first", *(item.id for item in bad), "last"]
    assert statuses(results) == ["created", *["failed"] * len(bad), "created"]
    assert all(isinstance(result.error, InvalidArgumentError) for result in results[1:-1])
    assert pictures.get("pictures").items == 2


def test_what_is_too_large_is_refused_alone(pictures):
    items = [
        NewItem(id="ten-megabytes", vector=VECTOR, metadata={"a": "x" * 10_000_000}),
        NewItem(id="picture", vector=VECTOR, picture=b"x" * 1001),
        NewItem(id="good", vector=VECTOR, metadata={"a": "x" * 1900}, picture=b"x" * 1000),
    ]
    results = pictures.upsert("pictures", items)
    assert statuses(results) == ["failed", "failed", "created"]
    assert all(isinstance(result.error, TooLargeError) for result in results[:2])


def test_the_first_of_equal_ids_in_one_call_is_kept(pictures):
    items = [NewItem(id="a", vector=VECTOR, metadata={"n": n}) for n in range(3)]
    assert statuses(pictures.upsert("pictures", items)) == ["created", "failed", "failed"]
    assert pictures.get_item("pictures", "a").metadata == {"n": 0}


def test_an_id_whose_first_item_was_bad_is_free_for_the_next(pictures):
    items = [NewItem(id="a", vector=VECTOR[:3]), NewItem(id="a", vector=VECTOR)]
    assert statuses(pictures.upsert("pictures", items)) == ["failed", "created"]


def test_too_many_items_in_a_call_are_refused_as_a_whole(pictures):
    with pytest.raises(TooLargeError):
        pictures.upsert("pictures", items_of(clustered(1001)))
    assert pictures.get("pictures").items == 0
    assert pictures.upsert("pictures", []) == []


def test_the_encoder_must_be_that_of_the_collection(pictures):
    items = items_of(clustered(2))
    with pytest.raises(EncoderMismatchError):
        pictures.upsert("pictures", items, encoder_digest=OTHER_DIGEST)
    assert pictures.get("pictures").items == 0
    assert statuses(pictures.upsert("pictures", items, encoder_digest=DIGEST)) == ["created", "created"]
    with pytest.raises(EncoderMismatchError):
        pictures.search("pictures", SearchQuery(vector=VECTOR, encoder_digest=OTHER_DIGEST))
    assert pictures.search("pictures", SearchQuery(vector=VECTOR, encoder_digest=DIGEST))


def test_a_deleted_item_is_gone_everywhere(pictures):
    pictures.upsert("pictures", items_of(clustered(3)))
    assert pictures.delete_item("pictures", "item-1") is True
    assert pictures.delete_item("pictures", "item-1") is False
    assert pictures.delete_item("pictures", "a/b") is False
    with pytest.raises(ItemNotFoundError):
        pictures.get_item("pictures", "item-1")
    assert pictures.known("pictures", ["item-0", "item-1", 'x" or 1=1', "a/b"]) == {"item-0": None}
    assert {hit.id for hit in pictures.search("pictures", SearchQuery(vector=VECTOR, k=10))} == {"item-0", "item-2"}
    assert pictures.get("pictures").items == 2


def test_pictures_are_kept_by_their_content(pictures):
    items = [NewItem(id=name, vector=VECTOR, picture=PICTURE) for name in "ab"]
    pictures.upsert("pictures", items)
    assert pictures.get_item("pictures", "a").picture_digest == PICTURE_DIGEST
    assert pictures.known("pictures", ["a"]) == {"a": PICTURE_DIGEST}
    [hit, _] = pictures.search("pictures", SearchQuery(vector=VECTOR))
    assert (hit.picture_digest, hit.picture_stored) == (PICTURE_DIGEST, True)
    pictures.delete_item("pictures", "a")
    assert pictures.read_picture("pictures", PICTURE_DIGEST) == PICTURE
    pictures.delete_item("pictures", "b")
    for digest in (PICTURE_DIGEST, "0" * 64, "../../etc/passwd", "", '" or 1=1'):
        with pytest.raises(ItemNotFoundError):
            pictures.read_picture("pictures", digest)


def test_the_picture_of_another_collection_cannot_be_read(pictures):
    pictures.create(spec_of("other"))
    pictures.upsert("other", [NewItem(id="a", vector=VECTOR, picture=PICTURE)])
    with pytest.raises(ItemNotFoundError):
        pictures.read_picture("pictures", PICTURE_DIGEST)


def test_a_collection_without_pictures_keeps_the_digest_alone(store):
    store.create(spec_of(store_images=False))
    store.upsert("pictures", [NewItem(id="a", vector=VECTOR, picture=PICTURE)])
    item = store.get_item("pictures", "a")
    assert (item.picture_digest, item.picture_stored) == (PICTURE_DIGEST, False)
    with pytest.raises(NoPicturesError):
        store.read_picture("pictures", PICTURE_DIGEST)


def test_pictures_that_no_item_has_are_swept(pictures, tmp_path):
    pictures.upsert("pictures", [NewItem(id="a", vector=VECTOR, picture=PICTURE)])
    stray = hashlib.sha256(b"stray").hexdigest()
    pictures.pictures.pictures.put({stray: b"stray"})
    assert pictures.sweep_pictures(older_than_s=3600) == 0
    assert pictures.sweep_pictures(older_than_s=-10) == 1
    assert pictures.read_picture("pictures", PICTURE_DIGEST) == PICTURE


def test_many_threads_write_and_each_finds_its_own(pictures):
    faults = []

    def write(worker):
        try:
            for n in range(5):
                name = f"w{worker}-{n}"
                assert statuses(pictures.upsert("pictures", [NewItem(id=name, vector=VECTOR)])) == ["created"]
                assert pictures.get_item("pictures", name).id == name
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert pictures.get("pictures").items == 20


def test_the_callers_vector_is_not_changed(pictures):
    vectors = 3 * clustered(4)
    before = vectors.copy()
    pictures.upsert("pictures", items_of(vectors))
    pictures.search("pictures", SearchQuery(vector=vectors[0]))
    assert np.array_equal(vectors, before)
    vectors[:] = 0
    assert (
        pictures.search("pictures", SearchQuery(vector=before[1], k=1))[0].id
        == exact_ids(before, before[1], "cosine", 1)[0]
    )


def _nested(depth):
    value = {}
    for _ in range(depth):
        value = {"a": value}
    return value
