"""A process that writes to a local store and says what was acknowledged; and what must be there then.

    python store_writer.py FOLDER START [OPERATIONS]

One worker for each number in START (joined by commas) runs its operations from that number on, at most OPERATIONS of
them, each made from its number alone. After each one that returned it prints "WORKER NUMBER"; a worker whose operation
failed searches once, prints "WORKER NUMBER ERROR HITS", and ends.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from vlp_server.index.local import LocalStore
from vlp_server.index.settings import IndexSettings, StoreSettings
from vlp_server.index.store import CollectionSpec, NewItem, SearchQuery

NAME = "killed"
DIMENSION = 8
# Indexes are built and saved all the while.
SETTINGS = StoreSettings(tail_items=40, tail_share=0.0, build_threads=1)
SPEC = CollectionSpec(
    name=NAME,
    model="clip",
    encoder_digest="a" * 64,
    dimension=DIMENSION,
    metric="l2",
    index=IndexSettings(kind="hnsw", flat_below=0),
)
_KEYS = 60
_BATCH = 5
_DELETES_EVERY = 4


def item_of(worker: int, key: int, version: int) -> NewItem:
    """The item that operation `version` writes under a key: vector, metadata and picture all tell it."""
    vector = np.random.default_rng([worker, key, version]).standard_normal(DIMENSION).astype(np.float32)
    name = f"{worker}-{key}"
    return NewItem(
        id=name, vector=vector, metadata={"version": version, "key": key}, picture=f"{name} {version}".encode()
    )


def keys_of(number: int) -> list[int]:
    """What operation `number` touches: one key to delete, or several to write."""
    first = number * _BATCH // 2
    return [(first + place) % _KEYS for place in range(1 if _is_deletion(number) else _BATCH)]


def expected_after(operations: int) -> dict[int, int]:
    """key -> version, after a worker's first operations."""
    state: dict[int, int] = {}
    for number in range(operations):
        for key in keys_of(number):
            if _is_deletion(number):
                state.pop(key, None)
            else:
                state[key] = number
    return state


def _is_deletion(number: int) -> bool:
    return number % _DELETES_EVERY == _DELETES_EVERY - 1


def _work(store: LocalStore, worker: int, numbers: Sequence[int]) -> None:
    for number in numbers:
        keys = keys_of(number)
        try:
            if _is_deletion(number):
                store.delete_item(NAME, f"{worker}-{keys[0]}")
            else:
                results = store.upsert(NAME, [item_of(worker, key, number) for key in keys])
                if any(result.status == "failed" for result in results):
                    raise RuntimeError(str(results))
        except Exception as error:
            found = store.search(NAME, SearchQuery(vector=item_of(worker, 0, 0).vector))
            os.write(1, f"{worker} {number} {type(error).__name__} {len(found)}\n".encode())
            return
        os.write(1, f"{worker} {number}\n".encode())


def main() -> None:
    folder, starts, *more = sys.argv[1:]
    count = int(more[0]) if more else 1_000_000
    store = LocalStore(Path(folder), SETTINGS)
    store.create(SPEC)
    threads = [
        threading.Thread(target=_work, args=(store, worker, range(int(start), int(start) + count)))
        for worker, start in enumerate(starts.split(","))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()


if __name__ == "__main__":
    main()
