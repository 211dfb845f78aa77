import sqlite3

import pytest
from vector_items import clustered, spec_of
from vlp_server.index.collection_rows import spec_to_json
from vlp_server.index.local import DATABASE, LocalStore
from vlp_server.index.schema import MIGRATIONS, incarnation, migrate, schema_version
from vlp_server.index.store import SearchQuery
from vlp_spec.errors import ArtifactError


@pytest.fixture
def connection(tmp_path):
    connection = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
    yield connection
    connection.close()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_store_of_every_older_version_opens_with_all_of_its_items(connection, tmp_path, version):
    migrate(connection, MIGRATIONS[:version])
    assert schema_version(connection) == version
    before = incarnation(connection)
    vector = clustered(1)[0]
    connection.execute(
        "INSERT INTO collections (id, name, uid, spec, created_at) VALUES (1, 'pictures', 'u', ?, 5.0)",
        (spec_to_json(spec_of(metric="dot")),),
    )
    for identity, digest in ((1, None), (2, "d" * 64)):
        connection.execute(
            "INSERT INTO items (id, collection, item_id, metadata, picture_digest, created_at)"
            " VALUES (?, 1, ?, '{\"n\":1}', ?, 6.0)",
            (identity, f"item-{identity}", digest),
        )
        connection.execute("INSERT INTO vectors VALUES (?, ?)", (2 * identity, vector.tobytes()))
    store = LocalStore(tmp_path)
    try:
        assert schema_version(connection) == len(MIGRATIONS)
        assert incarnation(connection) == before
        assert store.get("pictures").created_at == 5.0
        first, second = (store.get_item("pictures", f"item-{n}") for n in (1, 2))
        assert (first.metadata, first.picture_stored, first.created_at) == ({"n": 1}, False, 6.0)
        assert second.picture_digest == "d" * 64
        # Before version 2 a digest meant a picture that is kept.
        assert second.picture_stored == (version < 2)
        assert len(store.search("pictures", SearchQuery(vector=vector))) == 2
    finally:
        store.close()


def test_a_migration_that_fails_half_way_leaves_the_version_before(connection):
    broken = (*MIGRATIONS, ("CREATE TABLE half (a)", "no SQL"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, broken)
    assert schema_version(connection) == len(MIGRATIONS)
    assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchone() is None
    migrate(connection)


def test_a_newer_schema_is_refused_and_left_alone(connection):
    migrate(connection, (*MIGRATIONS, ("CREATE TABLE newer (a)",)))
    with pytest.raises(ArtifactError, match="newer"):
        migrate(connection)
    assert schema_version(connection) == len(MIGRATIONS) + 1


@pytest.mark.parametrize("statement", ["CREATE TABLE a (b)", "PRAGMA user_version = 1"])
def test_the_database_of_another_program_is_refused(connection, statement):
    connection.execute(statement)
    with pytest.raises(ArtifactError, match="another program"):
        migrate(connection)


def test_two_stores_have_different_incarnations(connection, tmp_path):
    migrate(connection)
    other = sqlite3.connect(":memory:", isolation_level=None)
    migrate(other)
    assert incarnation(other) != incarnation(connection)
    other.close()
