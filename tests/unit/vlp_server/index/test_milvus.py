"""What the contract of stores does not say: how collections and items look in Milvus."""

import pytest
from vector_items import SMALL, clustered, items_of, spec_of, statuses
from vlp_server.index import milvus
from vlp_server.index.filter_milvus import facets_of
from vlp_server.index.milvus import MilvusStore
from vlp_server.index.milvus_schema import index_of, milvus_name, our_name, search_parameters
from vlp_server.index.settings import IndexSettings, StoreSettings
from vlp_server.index.store import NewItem, SearchEffort
from vlp_spec.errors import InvalidArgumentError, StorageFullError, UnavailableError


@pytest.mark.parametrize("name", ["a", "A.b-c_d", "a_2eb", "0", "vlp_", "x" * 128])
def test_names_go_there_and_back(name):
    assert our_name(milvus_name(name)) == name
    assert milvus_name(name).replace("_", "").isalnum()


@pytest.mark.parametrize("name", ["others", "vlp_a__", "vlp_A.b", "vlp__zz"])
def test_collections_of_others_are_not_taken_for_ours(name):
    assert our_name(name) is None


def test_facets_say_type_and_path():
    metadata = {"size": 3, "x": 0.5, "on": True, "t": "a", "deep": {"er": 1}, "none": None, "list": [1], 'q"': 1}
    assert facets_of(metadata) == {
        "e:size": True,
        "n:size": 3,
        "e:x": True,
        "n:x": 0.5,
        "e:on": True,
        "b:on": True,
        "e:t": True,
        "s:t": "a",
        "e:deep": True,
        "e:deep.er": True,
        "n:deep.er": 1,
        "e:list": True,
    }


def test_efforts_become_parameters_of_one_search():
    graph = spec_of(index=IndexSettings(kind="hnsw", ef_search=64))
    cells = spec_of(index=IndexSettings(kind="ivf_pq", nprobe=32))
    assert search_parameters(graph, SearchEffort(), 10) == {"params": {"ef": 64}}
    assert search_parameters(graph, SearchEffort(ef_search=5), 10) == {"params": {"ef": 10}}
    assert search_parameters(cells, SearchEffort(nprobe=7), 10) == {"params": {"nprobe": 7}}
    # As hard as Milvus lets a search try.
    assert search_parameters(graph, SearchEffort(exact=True), 10) == {"params": {"ef": 32_768}}
    assert search_parameters(cells, SearchEffort(exact=True), 10) == {"params": {"nprobe": 1024}}


def test_cells_and_codes_are_those_of_the_settings():
    assert index_of(spec_of(dimension=512, index=IndexSettings(kind="ivf_pq")))["params"] == {
        "nlist": 1024,
        "m": 64,
        "nbits": 8,
    }
    assert index_of(spec_of(index=IndexSettings(kind="flat")))["index_type"] == "FLAT"


@pytest.fixture
def opened(tmp_path):
    store = MilvusStore(str(tmp_path / "store.db"), StoreSettings(pictures_url=str(tmp_path / "pictures")))
    yield store
    store.close()


def test_pictures_need_a_place(tmp_path):
    store = MilvusStore(str(tmp_path / "store.db"), SMALL)
    with pytest.raises(InvalidArgumentError, match="pictures_url"):
        store.create(spec_of())
    store.create(spec_of(store_images=False))
    store.close()


def test_large_calls_go_in_several_pieces(opened, monkeypatch):
    monkeypatch.setattr(milvus, "_BYTES_AT_ONCE", 3000)
    monkeypatch.setattr(milvus, "_IDS_AT_ONCE", 7)
    opened.create(spec_of())
    items = [NewItem(id=item.id, vector=item.vector, metadata={"text": "x" * 500}) for item in items_of(clustered(20))]
    assert statuses(opened.upsert("pictures", items)) == ["created"] * 20
    assert statuses(opened.upsert("pictures", items[:3])) == ["updated"] * 3
    assert opened.get("pictures").items == 20
    assert len(opened.known("pictures", [f"item-{n}" for n in range(30)])) == 20


def test_faults_of_milvus_and_of_the_disk_are_ours(opened, monkeypatch):
    opened.create(spec_of())

    def fails(*_, **__):
        raise RuntimeError("connection reset")

    monkeypatch.setattr(opened._client, "upsert", fails)
    with pytest.raises(UnavailableError) as caught:
        opened.upsert("pictures", items_of(clustered(1)))
    assert "connection reset" not in str(caught.value)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageFullError):
        opened.upsert("pictures", [NewItem(id="a", vector=clustered(1)[0], picture=b"a")])


def test_a_closed_store_says_so(opened):
    opened.create(spec_of())
    opened.close()
    opened.close()
    with pytest.raises(UnavailableError):
        opened.get("pictures")
