"""Durability of the local store, seen from outside of the process that writes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from store_writer import NAME, SETTINGS, expected_after, item_of
from vlp_server.index.local import DATABASE, LocalStore
from vlp_server.index.store import SearchEffort, SearchQuery
from vlp_spec.errors import ConfigError

SUPPORT = Path(__file__).parents[1] / "support"
WORKERS = 3
KILLS = 8


def command(folder: Path, starts: list[int], operations: int | None = None) -> list[str]:
    words = [sys.executable, str(SUPPORT / "store_writer.py"), str(folder), ",".join(map(str, starts))]
    return words if operations is None else [*words, str(operations)]


def test_what_was_acknowledged_outlives_kill_9(tmp_path):
    moments = random.Random(7)
    starts = [0] * WORKERS
    builds = 0
    for _ in range(KILLS):
        process = subprocess.Popen(command(tmp_path / "store", starts), stdout=subprocess.PIPE)
        first = process.stdout.readline()
        time.sleep(moments.uniform(0.0, 0.6))
        process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout.read().splitlines()]
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        acknowledged = list(starts)
        for line in lines:
            worker, number = map(int, line.split())
            acknowledged[worker] = max(acknowledged[worker], number + 1)
        starts, built = check(tmp_path / "store", acknowledged)
        builds += built
    assert sum(starts) > 10 * KILLS
    assert builds


def check(folder, acknowledged):
    """Every acknowledged operation is there, and beyond it at most the one under way, whole or not at all.

    Returns how far each worker came, and whether an index was read back.
    """
    with sqlite3.connect(folder / DATABASE) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        keys = {row[0] // 2 for row in connection.execute("SELECT key FROM vectors")}
        assert keys == {row[0] for row in connection.execute("SELECT id FROM items")}
    connection.close()
    store = LocalStore(folder, SETTINGS)
    try:
        reached = [worker_reached(store, worker, operations) for worker, operations in enumerate(acknowledged)]
        assert store.get(NAME).items == sum(len(expected_after(operations)) for operations in reached)
        return reached, store.get(NAME).index.built_items > 0
    finally:
        store.close()


def worker_reached(store, worker, operations):
    names = [f"{worker}-{key}" for key in range(60)]
    found = {
        int(name.split("-")[1]): store.get_item(NAME, name).metadata["version"] for name in store.known(NAME, names)
    }
    possible = [count for count in (operations, operations + 1) if expected_after(count) == found]
    assert possible, f"worker {worker}: {operations} operations were acknowledged, the store has {found}"
    for key, version in found.items():
        item = item_of(worker, key, version)
        stored = store.get_item(NAME, item.id)
        assert stored.metadata == item.metadata
        assert stored.picture_digest == hashlib.sha256(item.picture).hexdigest()
        assert store.read_picture(NAME, stored.picture_digest) == item.picture
        [hit] = store.search(NAME, SearchQuery(vector=item.vector, k=1, effort=SearchEffort(exact=key % 2 == 0)))
        assert (hit.id, hit.score) == (item.id, pytest.approx(0.0, abs=1e-6))
    return possible[-1]


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """A library that watches writes and syncs, and can say that the disk is full. Needs a C compiler."""
    library = tmp_path_factory.mktemp("shim") / "disk_shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, SUPPORT / "disk_shim.c", "-ldl"], check=True)
    return library


@pytest.fixture
def watched(shim, tmp_path):
    """Environment of a process under the shim, which logs to the file `log`."""
    return {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "VLP_SHIM_ROOT": str(tmp_path / "store"),
        "VLP_SHIM_LOG": str(tmp_path / "log"),
        "VLP_SHIM_FULL": str(tmp_path / "full"),
    }


def test_every_acknowledgement_comes_after_the_sync(watched, tmp_path):
    # Acknowledgements go to the log too, so that the file has the order of it all.
    with (tmp_path / "log").open("ab") as log:
        subprocess.run(command(tmp_path / "store", [0], 40), env=watched, stdout=log, check=True, timeout=120)
    acknowledged = pictures = 0
    unsynced: set[str] = set()
    written: set[str] = set()
    for line in (tmp_path / "log").read_text().splitlines():
        what, path = line.split(" ", 1)
        if what == "write" and (path.endswith("-wal") or "/pictures/" in path):
            unsynced.add(path)
            written.add(path)
        elif what == "sync":
            unsynced.discard(path)
        elif what == "0":
            assert not unsynced, f"operation {path} was acknowledged before {unsynced} was synced"
            assert any(one.endswith("-wal") for one in written), f"operation {path} wrote nothing"
            pictures += any("/pictures/" in one for one in written)
            written.clear()
            acknowledged += 1
    assert acknowledged == 40
    assert pictures == 30


def test_a_full_disk_gives_a_clear_error_and_loses_nothing(watched, tmp_path):
    process = subprocess.Popen(command(tmp_path / "store", [0]), env=watched, stdout=subprocess.PIPE)
    lines = [process.stdout.readline() for _ in range(30)]
    (tmp_path / "full").touch()
    lines += process.stdout.readlines()
    process.stdout.close()
    assert process.wait() == 0
    *acknowledged, failed = [line.decode().split() for line in lines]
    operations = len(acknowledged)
    assert acknowledged == [["0", str(number)] for number in range(operations)]
    assert failed == ["0", str(operations), "StorageFullError", "10"]
    (tmp_path / "full").unlink()
    # Not even the operation that failed left anything behind.
    assert check(tmp_path / "store", [operations])[0] == [operations]
    subprocess.run(command(tmp_path / "store", [operations], 10), env=watched, stdout=subprocess.PIPE, check=True)
    assert check(tmp_path / "store", [operations + 10])[0] == [operations + 10]


@pytest.mark.parametrize("there", [False, True])
def test_a_start_on_a_full_disk_says_so(watched, tmp_path, there):
    if there:
        subprocess.run(command(tmp_path / "store", [0], 3), stdout=subprocess.PIPE, check=True)
    (tmp_path / "full").touch()
    failed = subprocess.run(command(tmp_path / "store", [3]), env=watched, capture_output=True, check=False)
    assert b"StorageFullError: the disk is full" in failed.stderr
    (tmp_path / "full").unlink()
    subprocess.run(command(tmp_path / "store", [3 if there else 0], 3), stdout=subprocess.PIPE, check=True)


def test_a_second_process_is_kept_out_and_named(tmp_path):
    process = subprocess.Popen(command(tmp_path / "store", [0]), stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline()
        with pytest.raises(ConfigError, match=f"process {process.pid}"):
            LocalStore(tmp_path / "store", SETTINGS)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
