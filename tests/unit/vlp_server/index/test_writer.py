import sqlite3
import threading

import pytest
from vlp_server.index.database import Database
from vlp_server.index.writer import Writer
from vlp_spec.errors import InternalError, ItemNotFoundError, StorageFullError, UnavailableError


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "db", 1.0)
    yield database
    database.close()


@pytest.fixture
def writer(database):
    writer = Writer(database)
    yield writer
    writer.close()


def put(key):
    return lambda connection: connection.execute("INSERT INTO store VALUES (?, '')", (key,)).rowcount


def kept(database):
    with database.reader() as connection:
        return {row[0] for row in connection.execute("SELECT key FROM store")} - {"incarnation"}


def run_together(writer, works):
    """Run works as one group: they queue up behind one that waits. Returns results or errors, in order."""
    inside, go_on = threading.Event(), threading.Event()

    def wait(connection):
        inside.set()
        assert go_on.wait(30)

    outcomes = [None] * len(works)

    def one(place):
        try:
            outcomes[place] = writer.run(works[place])
        except BaseException as error:
            outcomes[place] = error

    threads = [threading.Thread(target=writer.run, args=(wait,))]
    threads[0].start()
    assert inside.wait(30)
    for place in range(len(works)):
        threads.append(threading.Thread(target=one, args=(place,)))
        threads[-1].start()
        while writer._queue.qsize() <= place:
            pass
    go_on.set()
    for thread in threads:
        thread.join()
    return outcomes


def test_what_queues_up_is_committed_together(database, writer):
    before = writer.commits
    outcomes = run_together(writer, [put(f"key-{n}") for n in range(10)])
    assert outcomes == [1] * 10
    assert writer.commits == before + 2
    assert len(kept(database)) == 10


def test_a_piece_that_fails_takes_back_its_own_changes_alone(database, writer):
    def fails(connection):
        put("taken back")(connection)
        raise ItemNotFoundError("none")

    outcomes = run_together(writer, [put("a"), fails, put("b"), put("a")])
    assert outcomes[0] == outcomes[2] == 1
    assert isinstance(outcomes[1], ItemNotFoundError)
    assert isinstance(outcomes[3], InternalError)  # "a" is there already
    assert kept(database) == {"a", "b"}


def test_the_caller_hears_after_the_commit_and_after_what_follows_it(database, writer):
    seen = []
    assert writer.run(put("a"), lambda result: seen.append((result, kept(database)))) == 1
    assert seen == [(1, {"a"})]


def test_a_full_disk_fails_the_whole_group_and_leaves_nothing(database, writer):
    pages = database.writer.execute("PRAGMA page_count").fetchone()[0]
    database.writer.execute(f"PRAGMA max_page_count = {pages + 2}")

    def large(connection):
        connection.execute("INSERT INTO store VALUES ('large', ?)", ("x" * 1_000_000,))

    outcomes = run_together(writer, [put("a"), large])
    assert all(isinstance(outcome, StorageFullError) for outcome in outcomes)
    assert all(outcome.retry_after_s > 0 for outcome in outcomes)
    assert kept(database) == set()
    assert writer.run(put("b")) == 1
    assert kept(database) == {"b"}


def test_a_commit_that_fails_is_heard_of_and_taken_back(database, writer, monkeypatch):
    class Broken:
        """The writer's connection; its commits fail."""

        def __init__(self, connection):
            self.connection = connection
            self.broken = True

        def __getattr__(self, name):
            return getattr(self.connection, name)

        def execute(self, statement, *arguments):
            if statement == "COMMIT" and self.broken:
                self.broken = False
                raise sqlite3.OperationalError("disk I/O error")
            return self.connection.execute(statement, *arguments)

    monkeypatch.setattr(database, "writer", Broken(database.writer))
    with pytest.raises(InternalError):
        writer.run(put("a"))
    assert kept(database) == set()
    writer.run(put("b"))
    assert kept(database) == {"b"}


def test_a_closed_writer_finishes_what_was_queued_and_takes_no_more(database):
    writer = Writer(database)
    writer.run(put("a"))
    writer.close()
    writer.close()
    with pytest.raises(UnavailableError):
        writer.run(put("b"))
    assert kept(database) == {"a"}
