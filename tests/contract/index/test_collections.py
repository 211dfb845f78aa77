import pytest
from vector_items import DIGEST, OTHER_DIGEST, clustered, items_of, spec_of
from vlp_server.index.settings import IndexSettings
from vlp_server.index.store import SearchQuery
from vlp_spec.errors import (
    CollectionExistsError,
    CollectionNotFoundError,
    EncoderMismatchError,
    InvalidArgumentError,
)


def test_a_collection_is_made_listed_and_dropped(store):
    made = store.create(spec_of("b.two"))
    store.create(spec_of("a_1-x", dimension=4, metric="l2"))
    assert made.spec == spec_of("b.two")
    assert made.items == 0
    assert [info.spec.name for info in store.list()] == ["a_1-x", "b.two"]
    store.drop("b.two")
    assert [info.spec.name for info in store.list()] == ["a_1-x"]
    with pytest.raises(CollectionNotFoundError):
        store.get("b.two")


def test_making_the_same_twice_changes_nothing(store):
    first = store.create(spec_of())
    store.upsert("pictures", items_of(clustered(3)))
    again = store.create(spec_of())
    assert again.created_at == first.created_at
    assert again.items == 3


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"encoder_digest": OTHER_DIGEST}, EncoderMismatchError),
        ({"dimension": 9}, CollectionExistsError),
        ({"metric": "dot"}, CollectionExistsError),
        ({"store_images": False}, CollectionExistsError),
        ({"index": IndexSettings(ef_search=65)}, CollectionExistsError),
    ],
)
def test_another_specification_under_the_same_name_is_refused(store, changes, error):
    store.create(spec_of())
    with pytest.raises(error):
        store.create(spec_of(**changes))
    assert store.get("pictures").spec == spec_of()


@pytest.mark.parametrize("name", ["", "a/b", "..", "a..b", ".a", "-a", "a b", "a\0", "ä", "x" * 129, "../etc", "a\n"])
def test_a_name_that_could_be_a_path_is_refused(store, name):
    with pytest.raises(InvalidArgumentError) as caught:
        store.create(spec_of(name))
    assert caught.value.field == "name"
    with pytest.raises(CollectionNotFoundError):
        store.get(name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dimension", 0),
        ("dimension", 32_769),
        ("dimension", True),
        ("dimension", 8.0),
        ("metric", "hamming"),
        ("model", ""),
        ("encoder_digest", ""),
        ("encoder_digest", "x" * 257),
    ],
)
def test_a_bad_specification_is_refused(store, field, value):
    with pytest.raises(InvalidArgumentError) as caught:
        store.create(spec_of(**{field: value}))
    assert caught.value.field == field
    assert store.list() == []


def test_code_bytes_that_do_not_divide_the_dimension_are_refused(store):
    with pytest.raises(InvalidArgumentError):
        store.create(spec_of(index=IndexSettings(kind="ivf_pq", pq_bytes=3)))


def test_names_that_differ_in_case_or_signs_are_different_collections(store):
    for name in ("a_b", "a.b", "a-b", "A-b", "a_2eb"):
        store.create(spec_of(name))
        store.upsert(name, [items_of(clustered(1))[0]])
    store.drop("a.b")
    assert [info.spec.name for info in store.list()] == sorted(["a_b", "a-b", "A-b", "a_2eb"])


def test_a_collection_made_again_after_a_drop_is_empty(store):
    store.create(spec_of())
    store.upsert("pictures", items_of(clustered(5)))
    store.drop("pictures")
    assert store.create(spec_of(dimension=4)).items == 0
    assert store.known("pictures", ["item-0"]) == {}


def test_collections_do_not_see_each_others_items(store):
    for name in ("one", "two"):
        store.create(spec_of(name))
    store.upsert("one", items_of(clustered(2)))
    assert store.get("one").items == 2
    assert store.get("two").items == 0
    assert store.known("two", ["item-0", "item-1"]) == {}


def test_every_method_says_that_there_is_no_such_collection(store):
    vector = clustered(1)[0]
    for call in (
        lambda: store.get("none"),
        lambda: store.drop("none"),
        lambda: store.upsert("none", items_of(clustered(1))),
        lambda: store.known("none", ["a"]),
        lambda: store.get_item("none", "a"),
        lambda: store.delete_item("none", "a"),
        lambda: store.read_picture("none", "0" * 64),
        lambda: store.search("none", SearchQuery(vector=vector)),
    ):
        with pytest.raises(CollectionNotFoundError):
            call()


def test_all_is_there_after_reopening(reopen):
    store = reopen()
    spec = spec_of(metric="dot", index=IndexSettings(kind="ivf_pq", nprobe=7), encoder_digest=DIGEST)
    made = store.create(spec)
    store.upsert("pictures", items_of(clustered(7)))
    store.delete_item("pictures", "item-3")
    store = reopen()
    there = store.get("pictures")
    assert (there.spec, there.items, there.created_at) == (spec, 6, made.created_at)
    assert store.get_item("pictures", "item-4").metadata == {"n": 4, "parity": "even"}


def test_what_a_collection_is_can_be_read_without_counting(store):
    store.create(spec_of())
    assert store.spec("pictures") == store.get("pictures").spec == spec_of()
    with pytest.raises(CollectionNotFoundError):
        store.spec("missing")


def test_upkeep_of_an_empty_store_changes_nothing(store):
    store.create(spec_of())
    store.warm()
    assert store.sweep_pictures(0.0) == 0
    assert [info.spec.name for info in store.list()] == ["pictures"]
