import threading

import numpy as np
import pytest
from vector_items import clustered, exact_ids, exact_scores, items_of, spec_of
from vlp_server.index.filters import parse_filter
from vlp_server.index.settings import IndexSettings
from vlp_server.index.store import NewItem, SearchEffort, SearchQuery
from vlp_spec.errors import InvalidArgumentError

VECTORS = clustered(300)
QUERIES = clustered(5, seed=1)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_the_nearest_come_first_with_their_scores(store, metric):
    store.create(spec_of(metric=metric))
    store.upsert("pictures", items_of(VECTORS))
    for query in QUERIES:
        hits = store.search("pictures", SearchQuery(vector=query, k=12))
        scores = exact_scores(VECTORS, query, metric)
        assert [hit.id for hit in hits] == exact_ids(VECTORS, query, metric, 12)
        assert [hit.score for hit in hits] == pytest.approx(sorted(scores, reverse=True)[:12], abs=1e-5)
        assert all(hit.metadata["n"] == int(hit.id.removeprefix("item-")) for hit in hits)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf_pq"])
def test_every_kind_of_index_finds_everything_when_asked_for_everything(store, kind):
    store.create(spec_of(index=IndexSettings(kind=kind)))
    store.upsert("pictures", items_of(VECTORS))
    effort = SearchEffort(exact=True)
    hits = store.search("pictures", SearchQuery(vector=QUERIES[0], k=500, effort=effort))
    assert len({hit.id for hit in hits}) == 300


def test_a_collection_without_items_has_no_hits(store):
    store.create(spec_of())
    assert store.search("pictures", SearchQuery(vector=QUERIES[0], k=5)) == []
    condition = parse_filter({"n": 1})
    assert store.search("pictures", SearchQuery(vector=QUERIES[0], k=5, filter=condition)) == []


@pytest.mark.parametrize(
    ("condition", "matching"),
    [
        ({"parity": "odd"}, 150),
        ({"n": {"gte": 100, "lt": 130}}, 30),
        ({"n": {"in": [1, 2, 3, 1000]}}, 3),
        ({"n": 7}, 1),
        ({"missing": 1}, 0),
        ({"not": {"missing": 1}}, 300),
    ],
)
def test_k_hits_come_back_where_k_items_match(store, condition, matching):
    store.create(spec_of())
    store.upsert("pictures", items_of(VECTORS))
    for query in QUERIES[:2]:
        hits = store.search("pictures", SearchQuery(vector=query, k=20, filter=parse_filter(condition)))
        assert len(hits) == min(20, matching)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_the_hits_of_a_filter_are_the_nearest_that_match(store):
    store.create(spec_of())
    store.upsert("pictures", items_of(VECTORS))
    condition = parse_filter({"and": [{"parity": "odd"}, {"n": {"lt": 200}}]})
    hits = store.search("pictures", SearchQuery(vector=QUERIES[0], k=10, filter=condition))
    places = np.arange(1, 200, 2)
    scores = exact_scores(VECTORS[places], QUERIES[0], "cosine")
    assert [hit.id for hit in hits] == [f"item-{n}" for n in places[np.argsort(-scores)[:10]]]


def test_a_filter_sees_updates_and_deletions(store):
    store.create(spec_of())
    store.upsert("pictures", items_of(VECTORS[:20]))
    query = SearchQuery(vector=QUERIES[0], k=20, filter=parse_filter({"n": {"lt": 5}}))
    assert {hit.id for hit in store.search("pictures", query)} == {f"item-{n}" for n in range(5)}
    store.upsert("pictures", [NewItem(id="item-0", vector=VECTORS[0], metadata={"n": 50})])
    store.upsert("pictures", [NewItem(id="item-9", vector=VECTORS[9], metadata={"n": 1})])
    store.delete_item("pictures", "item-3")
    assert {hit.id for hit in store.search("pictures", query)} == {"item-1", "item-2", "item-4", "item-9"}


@pytest.mark.parametrize("k", [0, -1, 501, 1_000_000, True, 2.0, None])
def test_a_k_out_of_range_is_refused(store, k):
    store.create(spec_of())
    with pytest.raises(InvalidArgumentError) as caught:
        store.search("pictures", SearchQuery(vector=QUERIES[0], k=k))
    assert caught.value.field == "k"


@pytest.mark.parametrize("effort", [{"ef_search": 0}, {"ef_search": 10_001}, {"nprobe": 0}, {"nprobe": True}])
def test_an_effort_out_of_range_is_refused(store, effort):
    store.create(spec_of())
    with pytest.raises(InvalidArgumentError) as caught:
        store.search("pictures", SearchQuery(vector=QUERIES[0], effort=SearchEffort(**effort)))
    assert caught.value.field in effort


@pytest.mark.parametrize("vector", [QUERIES[0][:7], np.full(8, np.nan), np.zeros(8), np.ones((1, 8)), None])
def test_a_bad_vector_is_refused(store, vector):
    store.create(spec_of())
    with pytest.raises(InvalidArgumentError) as caught:
        store.search("pictures", SearchQuery(vector=vector))
    assert caught.value.field == "vector"


def test_deleting_while_searching_gives_whole_hits_only(store):
    store.create(spec_of())
    store.upsert("pictures", items_of(VECTORS[:100]))
    faults = []
    done = threading.Event()

    def search():
        try:
            while not done.is_set():
                hits = store.search("pictures", SearchQuery(vector=QUERIES[0], k=30))
                assert len({hit.id for hit in hits}) == len(hits)
                assert all(hit.metadata["n"] == int(hit.id.removeprefix("item-")) for hit in hits)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for n in range(0, 100, 2):
        assert store.delete_item("pictures", f"item-{n}")
    done.set()
    for thread in threads:
        thread.join()
    assert not faults
    hits = store.search("pictures", SearchQuery(vector=QUERIES[0], k=100))
    assert {hit.id for hit in hits} == {f"item-{n}" for n in range(1, 100, 2)}
