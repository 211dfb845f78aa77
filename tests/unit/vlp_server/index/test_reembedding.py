import numpy as np
import pytest
from vector_items import DIGEST, OTHER_DIGEST, SMALL, clustered, items_of, spec_of
from vlp_server.index.local import LocalStore
from vlp_server.index.reembedding import Progress, Reembedding
from vlp_server.index.settings import IndexSettings
from vlp_server.index.store import NewItem, SearchQuery
from vlp_spec.errors import CollectionNotFoundError, EncoderMismatchError, InvalidArgumentError, NoPicturesError

COUNT = 300
NEW = {"model": "siglip", "encoder_digest": OTHER_DIGEST, "dimension": 12}


def old_vector(picture):
    return embed(picture, 8)


def new_vector(picture):
    return embed(picture, 12)


def embed(picture, dimension):
    """A stand-in for an encoder: a vector that the picture alone decides."""
    return np.random.default_rng(list(picture) + [dimension]).standard_normal(dimension).astype(np.float32)


def picture_of(n):
    return b"picture %d" % n


def item(n, name=None):
    return NewItem(id=name or f"item-{n}", vector=old_vector(picture_of(n)), metadata={"n": n}, picture=picture_of(n))


@pytest.fixture
def full(store):
    store.create(spec_of(index=IndexSettings(flat_below=0)))
    store.upsert("pictures", [item(n) for n in range(COUNT)])
    return store


def embed_all(job, limit=None):
    """Embed what is pending; returns how many pictures went through."""
    done = 0
    for batch in job.pending(64):
        done += job.write([(pending.row, new_vector(pending.picture)) for pending in batch])
        if limit is not None and done >= limit:
            break
    return done


def nearest(store, vector, **members):
    return store.search("pictures", SearchQuery(vector=vector, k=1, **members))[0].id


def test_searches_see_the_old_vectors_until_the_commit_and_the_new_ones_after(full):
    job = Reembedding(full, "pictures", **NEW)
    assert embed_all(job) == COUNT
    assert job.progress() == Progress(COUNT, COUNT, 0)
    assert nearest(full, old_vector(picture_of(7)), encoder_digest=DIGEST) == "item-7"
    assert full.settle(60)
    job.commit()
    info = full.get("pictures")
    assert (info.spec.model, info.spec.encoder_digest, info.spec.dimension) == ("siglip", OTHER_DIGEST, 12)
    assert info.items == COUNT
    for n in range(0, COUNT, 29):
        assert nearest(full, new_vector(picture_of(n)), encoder_digest=OTHER_DIGEST) == f"item-{n}"
    with pytest.raises(EncoderMismatchError):
        nearest(full, old_vector(picture_of(7)), encoder_digest=DIGEST)
    with pytest.raises(EncoderMismatchError):
        full.upsert("pictures", [item(1)], encoder_digest=DIGEST)
    with full.database.reader() as connection:
        assert connection.execute("SELECT count(*) FROM vectors").fetchone() == (COUNT,)


def test_the_new_vectors_are_searched_after_reopening_too(full):
    assert full.settle(60)
    job = Reembedding(full, "pictures", **NEW)
    embed_all(job)
    job.commit()
    nearest(full, new_vector(b"any"))
    assert full.settle(60)
    full.close()
    again = LocalStore(full.root, SMALL)
    try:
        assert nearest(again, new_vector(picture_of(5))) == "item-5"
        assert again.get("pictures").index.kind == "hnsw"
    finally:
        again.close()


def test_what_was_embedded_before_a_stop_is_not_embedded_again(full):
    assert embed_all(Reembedding(full, "pictures", **NEW), limit=100) == 128
    full.close()
    store = LocalStore(full.root, SMALL)
    try:
        job = Reembedding(store, "pictures", **NEW)
        assert job.progress().done == 128
        assert embed_all(job) == COUNT - 128
        job.commit()
        assert nearest(store, new_vector(picture_of(3))) == "item-3"
    finally:
        store.close()


def test_another_encoder_starts_from_nothing(full):
    embed_all(Reembedding(full, "pictures", **NEW), limit=100)
    other = Reembedding(full, "pictures", model="x", encoder_digest="c" * 64, dimension=12)
    assert other.progress().done == 0
    with pytest.raises(InvalidArgumentError, match="not embedded yet"):
        other.commit()


def test_writes_go_on_meanwhile(full):
    job = Reembedding(full, "pictures", **NEW)
    embed_all(job)
    full.upsert("pictures", [item(1000), item(1001, "item-5")])
    full.delete_item("pictures", "item-6")
    assert job.progress() == Progress(COUNT, COUNT - 2, 0)
    with pytest.raises(InvalidArgumentError):
        job.commit()
    assert embed_all(job) == 2
    job.commit()
    assert nearest(full, new_vector(picture_of(1000))) == "item-1000"
    assert nearest(full, new_vector(picture_of(1001))) == "item-5"
    assert nearest(full, new_vector(picture_of(6))) != "item-6"


def test_vectors_of_items_that_changed_meanwhile_are_passed_over(full):
    job = Reembedding(full, "pictures", **NEW)
    batch = next(iter(job.pending(10)))
    full.delete_item("pictures", batch[0].id)
    full.upsert("pictures", [item(999, batch[1].id)])
    assert job.write([(pending.row, new_vector(pending.picture)) for pending in batch]) == 8


def test_items_without_pictures_hold_it_up_by_name(full):
    full.upsert("pictures", items_of(clustered(2), first=5000))
    job = Reembedding(full, "pictures", **NEW)
    embed_all(job)
    assert job.progress() == Progress(COUNT + 2, COUNT, 2)
    with pytest.raises(NoPicturesError, match="2 items"):
        job.commit()
    for n in (5000, 5001):
        full.delete_item("pictures", f"item-{n}")
    job.commit()


def test_bad_vectors_are_refused_and_none_is_kept(full):
    job = Reembedding(full, "pictures", **NEW)
    batch = next(iter(job.pending(2)))
    good = new_vector(b"good")
    for bad in (old_vector(b"x"), np.full(12, np.nan), np.zeros(12)):
        with pytest.raises(InvalidArgumentError):
            job.write([(batch[0].row, good), (batch[1].row, bad)])
    assert job.progress().done == 0


def test_an_abandoned_one_leaves_all_as_it_was(full):
    job = Reembedding(full, "pictures", **NEW)
    embed_all(job)
    job.abandon()
    assert nearest(full, old_vector(picture_of(7)), encoder_digest=DIGEST) == "item-7"
    with pytest.raises(InvalidArgumentError, match="replaced"):
        job.commit()
    with full.database.reader() as connection:
        assert connection.execute("SELECT count(*) FROM vectors").fetchone() == (COUNT,)


def test_twice_in_a_row(full):
    for encoder in (NEW, {"model": "clip", "encoder_digest": DIGEST, "dimension": 8}):
        job = Reembedding(full, "pictures", **encoder)
        for batch in job.pending():
            job.write([(one.row, embed(one.picture, encoder["dimension"])) for one in batch])
        job.commit()
    assert nearest(full, old_vector(picture_of(7)), encoder_digest=DIGEST) == "item-7"


def test_the_same_encoder_and_no_collection_are_refused(full):
    with pytest.raises(InvalidArgumentError, match="already"):
        Reembedding(full, "pictures", model="clip", encoder_digest=DIGEST, dimension=8)
    with pytest.raises(CollectionNotFoundError):
        Reembedding(full, "none", **NEW)


def test_the_new_dimension_must_take_the_codes(store):
    store.create(spec_of(index=IndexSettings(kind="ivf_pq", pq_bytes=8)))
    with pytest.raises(InvalidArgumentError, match="pq_bytes"):
        Reembedding(store, "pictures", **NEW)
