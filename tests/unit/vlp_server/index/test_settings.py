import pytest
from vlp_server.index.opening import is_milvus, open_store
from vlp_server.index.settings import IndexSettings, StoreSettings
from vlp_spec.errors import ConfigError, InvalidArgumentError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "annoy"),
        ("flat_below", -1),
        ("hnsw_links", 3),
        ("ef_construction", 2001),
        ("ef_search", 0),
        ("nprobe", 1.5),
        ("pq_bytes", True),
        ("refine", 101),
    ],
)
def test_a_bad_index_setting_is_named(name, value):
    with pytest.raises(InvalidArgumentError) as caught:
        IndexSettings(**{name: value})
    assert caught.value.field == f"index.{name}"


def test_all_bad_store_settings_are_named_at_once():
    with pytest.raises(ConfigError) as caught:
        StoreSettings(max_k=0, tail_items=0, busy_timeout_s=0.0, max_metadata_bytes=70_000)
    for name in ("max_k", "tail_items", "busy_timeout_s", "max_metadata_bytes"):
        assert f"store.{name}" in str(caught.value)


def test_a_token_is_not_shown():
    assert "secret" not in repr(StoreSettings(milvus_token="root:secret"))


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("http://host:19530", True),
        ("https://host", True),
        ("tcp://host", True),
        ("file.db", True),
        ("folder", False),
        ("/a/b", False),
    ],
)
def test_which_store_a_place_means(place, expected):
    assert is_milvus(place) is expected


def test_a_milvus_that_is_not_there_is_a_fault_of_configuration():
    with pytest.raises(ConfigError, match="no Milvus at http://127.0.0.1:1"):
        open_store("http://127.0.0.1:1", StoreSettings(milvus_timeout_s=0.5))
