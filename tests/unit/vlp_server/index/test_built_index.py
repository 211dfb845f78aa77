import threading

import numpy as np
import pytest
from vector_items import clustered, exact_scores
from vlp_server.index.building import empty_index, fill_index
from vlp_server.index.built_index import BuiltIndex
from vlp_server.index.settings import IndexSettings
from vlp_server.index.store import SearchEffort

COUNT = 12_000
USUAL = SearchEffort()
VECTORS = clustered(COUNT, 16)
QUERIES = clustered(20, 16, seed=0)
# Ids with gaps, as deletions leave them.
IDS = np.cumsum(np.random.default_rng(3).integers(1, 4, COUNT)).astype(np.int64)


def built(kind, metric, ids=IDS, gpu=None):
    settings = IndexSettings(kind=kind, flat_below=0, ivf_lists=100, nprobe=8)
    vectors = VECTORS[: len(ids)]
    index = empty_index(kind, 16, metric, settings, len(ids))
    if not index.is_trained:
        index.train(vectors)
    fill_index(index, [(ids, vectors)], lambda: False)

    def read(wanted):
        places = np.searchsorted(ids, wanted)
        return wanted, vectors[places]

    return BuiltIndex(
        kind=kind,
        ids=ids,
        index=index,
        metric=metric,
        settings=settings,
        trained_on=len(ids),
        read_vectors=read,
        gpu=gpu,
    )


@pytest.fixture(scope="module", params=["flat", "hnsw", "ivf_pq"])
def index(request):
    return built(request.param, "l2")


def recall(index, mask, k, effort=USUAL, metric="l2"):
    """Share of the k nearest that are found, over all queries; each answer is checked to be whole."""
    allowed = np.flatnonzero(index.alive if mask is None else index.alive & mask)
    hits = 0
    for query in QUERIES:
        found = index.search(query, k, mask, effort)
        assert len(found.ids) == min(k, len(allowed))
        assert len(set(found.ids.tolist())) == len(found.ids)
        places = np.searchsorted(IDS, found.ids)
        assert np.isin(places, allowed).all()
        scores = exact_scores(VECTORS, query, metric)
        assert found.scores == pytest.approx(scores[places], abs=1e-3)
        assert (np.diff(found.scores) <= 0).all()
        best = allowed[np.argsort(-scores[allowed], kind="stable")[:k]]
        hits += len(np.intersect1d(places, best))
    return hits / (len(QUERIES) * max(1, min(k, len(allowed))))


@pytest.mark.parametrize("share", [None, 0.9, 0.5, 0.3, 0.1, 0.05, 0.001, 0.0])
def test_k_hits_come_back_and_they_are_near(index, share):
    mask = None if share is None else np.random.default_rng(1).random(COUNT) < share
    assert recall(index, mask, 10) >= 0.9 or share == 0.0


def test_a_filter_far_away_from_the_query_still_gives_k_hits(index):
    """Only what is furthest from the query matches: the selected are not where the index looks first."""
    for query in QUERIES[:3]:
        far = np.zeros(COUNT, np.bool_)
        far[np.argsort(exact_scores(VECTORS, query, "l2"))[:4000]] = True
        found = index.search(query, 50, far, SearchEffort(ef_search=1, nprobe=1))
        assert len(found.ids) == 50
        assert far[np.searchsorted(IDS, found.ids)].all()


def test_more_hits_than_the_index_looks_at_come_back_all_the_same(index):
    found = index.search(QUERIES[0], 3000, None, SearchEffort(ef_search=1, nprobe=1))
    assert len(set(found.ids.tolist())) == 3000


def test_exact_is_exact(index):
    mask = np.random.default_rng(2).random(COUNT) < 0.6
    assert recall(index, None, 10, SearchEffort(exact=True)) == 1.0
    assert recall(index, mask, 10, SearchEffort(exact=True)) == 1.0


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf_pq"])
@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_inner_products_are_scores_as_they_are(kind, metric):
    index = built(kind, "dot")
    assert recall(index, None, 10, metric="dot") >= 0.85
    mask = np.random.default_rng(1).random(COUNT) < 0.5
    assert recall(index, mask, 10, metric="dot") >= 0.85


@pytest.mark.parametrize("kind", ["flat", "ivf_pq"])
def test_a_copy_on_a_gpu_answers_where_nothing_is_masked(kind):
    """A second index in memory stands in for the one on the GPU: it takes the same calls."""
    asked = []

    class Copy:
        def search(self, vector, k, params):
            asked.append(k)
            return index.index.search(vector, k, params=params)

    index = built(kind, "l2", gpu=Copy())
    assert recall(index, None, 10) >= 0.9
    assert len(asked) == len(QUERIES)
    assert recall(index, np.arange(COUNT) % 2 == 0, 10) >= 0.9
    index.kill(IDS[:1])
    index.search(QUERIES[0], 10, None, USUAL)
    assert len(asked) == len(QUERIES)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf_pq"])
def test_deleted_items_are_never_hits(kind):
    index = built(kind, "l2")
    for query in QUERIES[:3]:
        index.kill(index.search(query, 1, None, USUAL).ids)
    index.kill(IDS[::3])
    index.kill(np.array([0, IDS[-1] + 1]))
    assert index.deleted == COUNT - np.count_nonzero(index.alive)
    assert recall(index, None, 10) >= 0.9
    index.kill(IDS)
    assert len(index.search(QUERIES[0], 10, None, USUAL).ids) == 0


@pytest.mark.parametrize("ids", [IDS, 1000 * IDS])
def test_a_mask_has_the_allowed_ids_and_no_others(ids):
    index = built("flat", "l2", ids)
    allowed = np.sort(np.concatenate([ids[5::7], ids[5::7] + 1, [-5, ids[-1] + 10]]))
    assert np.array_equal(index.mask_of(np.unique(allowed)), np.isin(ids, allowed))
    assert not index.mask_of(np.empty(0, np.int64)).any()


def test_one_searchs_effort_never_changes_anothers():
    """Many threads at a time, each with its own effort: every answer is that of the same search alone."""
    graph, cells = built("hnsw", "l2"), built("ivf_pq", "l2")
    before = graph.index.hnsw.efSearch, cells.index.nprobe
    efforts = [SearchEffort(ef_search=ef, nprobe=nprobe) for ef, nprobe in ((1, 1), (16, 4), (500, 100), (None, None))]
    mask = np.random.default_rng(1).random(COUNT) < 0.8
    calls = [
        (index, query, chosen, effort)
        for index in (graph, cells)
        for query in np.random.default_rng(9).standard_normal((16, 16)).astype(np.float32)
        for chosen in (None, mask)
        for effort in efforts
    ]

    def answer(call):
        index, query, chosen, effort = call
        return index.search(query, 10, chosen, effort).ids.tolist()

    alone = [answer(call) for call in calls]
    assert sum(low != high for low, high in zip(alone[0::4], alone[2::4], strict=True)) > 20  # the efforts do matter
    differing = []

    def search(offset):
        for place in range(len(calls)):
            place = (place * 7 + offset) % len(calls)
            if answer(calls[place]) != alone[place]:
                differing.append(calls[place])

    threads = [threading.Thread(target=search, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not differing
    assert (graph.index.hnsw.efSearch, cells.index.nprobe) == before
