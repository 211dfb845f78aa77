import contextlib
import sqlite3
import threading

import pytest
from vector_items import clustered, items_of, spec_of
from vlp_server.index.backup import back_up, restore
from vlp_server.index.database import Database
from vlp_server.index.local import LocalStore
from vlp_server.index.reembedding import Reembedding
from vlp_server.index.store import SearchQuery
from vlp_spec.errors import ArtifactError, UnavailableError


def test_every_connection_syncs_fully(monkeypatch, tmp_path):
    levels = []

    class Watched(sqlite3.Connection):
        """Begins without syncing, and tells at its end how it synced."""

        def close(self):
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed already
                levels.append(self.execute("PRAGMA synchronous").fetchone()[0])
            super().close()

    def connect(*arguments, **options):
        connection = real(*arguments, **options, factory=Watched)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", connect)
    store = LocalStore(tmp_path / "store")
    store.create(spec_of(store_images=False))
    store.upsert("pictures", items_of(clustered(5)))
    store.search("pictures", SearchQuery(vector=clustered(1)[0]))
    Reembedding(store, "pictures", model="other", encoder_digest="c" * 64, dimension=8).abandon()
    back_up(tmp_path / "store", tmp_path / "backup")
    store.database.reopen_writer()
    store.close()
    restore(tmp_path / "backup", tmp_path / "restored")
    assert len(levels) > 6
    assert set(levels) == {2}


def test_readers_see_the_last_commit_while_a_write_is_under_way(tmp_path):
    database = Database(tmp_path / "db", 1.0)
    try:
        database.writer.execute("INSERT INTO store VALUES ('a', 'old')")
        database.writer.execute("BEGIN IMMEDIATE")
        database.writer.execute("UPDATE store SET value = 'new' WHERE key = 'a'")
        with database.reader() as connection:
            assert connection.execute("SELECT value FROM store WHERE key = 'a'").fetchone() == ("old",)
            database.writer.execute("COMMIT")
        with database.reader() as connection:
            assert connection.execute("SELECT value FROM store WHERE key = 'a'").fetchone() == ("new",)
    finally:
        database.close()


def test_readers_cannot_write_and_are_used_again(tmp_path):
    database = Database(tmp_path / "db", 1.0)
    with database.reader() as first, pytest.raises(sqlite3.OperationalError):
        first.execute("INSERT INTO store VALUES ('a', 'b')")
    with database.reader() as second:
        assert second is first
    database.close()
    with pytest.raises(UnavailableError), database.reader():
        pass


def test_a_file_that_is_no_database_is_named_damaged(tmp_path):
    (tmp_path / "store.sqlite3").write_bytes(b"no database at all" * 100)
    with pytest.raises(ArtifactError, match="damaged"):
        LocalStore(tmp_path)
    # And the folder is let go of.
    (tmp_path / "store.sqlite3").unlink()
    LocalStore(tmp_path).close()


def test_searches_do_not_wait_for_a_write_under_way(store):
    store.create(spec_of())
    store.upsert("pictures", items_of(clustered(50)))
    inside, go_on = threading.Event(), threading.Event()

    def slow(connection):
        connection.execute("UPDATE items SET metadata = '{}'")
        inside.set()
        assert go_on.wait(30)

    writing = threading.Thread(target=store.writer.run, args=(slow,))
    writing.start()
    try:
        assert inside.wait(30)
        hits = store.search("pictures", SearchQuery(vector=clustered(1)[0], k=50))
        assert all(hit.metadata for hit in hits)
        assert len(hits) == 50
        assert store.get("pictures").items == 50
        assert store.get_item("pictures", "item-1").metadata["n"] == 1
        assert writing.is_alive()
    finally:
        go_on.set()
        writing.join()
