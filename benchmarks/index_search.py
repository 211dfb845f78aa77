"""A collection of many vectors: ingestion, build, search with and without filters, beside raw FAISS and raw SQLite.

The vectors are clustered as embeddings are: unit vectors around random centres, 200 to a centre, at a cosine of about
0.8 to it; queries come from the same centres and are no items. All searches are made one after another, in one thread.

Usage: python benchmarks/index_search.py [--items 100000] [--kind hnsw|ivf_pq] [--queries 1000] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import faiss
import numpy as np
import psutil
from serving_bench import tell
from vlp_server.index.filters import Filter, parse_filter
from vlp_server.index.local import LocalStore
from vlp_server.index.settings import IndexSettings, StoreSettings
from vlp_server.index.store import CollectionSpec, NewItem, SearchQuery

DIMENSION = 512
K = 10
PER_CENTRE = 200
COSINE = 0.8
CALL_ITEMS = 1024
NAME = "benchmark"
BASELINE_ITEMS = 20_480
FILTERS = {"1 %": {"a": 0}, "10 %": {"a": {"lt": 10}}, "50 %": {"a": {"lt": 50}}}
SHARES = {"1 %": 1, "10 %": 10, "50 %": 50}


def clustered(count: int, centres: np.ndarray, seed: int) -> np.ndarray:
    """(count, DIMENSION) float32 of length 1."""
    rng = np.random.default_rng(seed)
    made = np.empty((count, DIMENSION), np.float32)
    noise = (1 / COSINE**2 - 1) ** 0.5 / DIMENSION**0.5
    for start in range(0, count, 65_536):
        part = made[start : start + 65_536]
        part[:] = centres[rng.integers(0, len(centres), len(part))]
        part += noise * rng.standard_normal(part.shape, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return made


def nearest(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """(queries, K) places of the nearest, exactly."""
    flat = faiss.IndexFlatIP(DIMENSION)
    flat.add(vectors)
    found: np.ndarray = flat.search(queries, K)[1]
    return found


def timed(search: Callable[[np.ndarray], Sequence[int]], queries: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Recall at K and latency of a search, one query after another."""
    for query in queries[:20]:
        search(query)
    hits, seconds, returned = 0, [], []
    for query, right in zip(queries, truth, strict=True):
        started = time.perf_counter()
        found = search(query)
        seconds.append(time.perf_counter() - started)
        hits += len(set(found) & set(right.tolist()))
        returned.append(len(found))
    return {
        "recall_at_10": round(hits / truth.size, 4),
        "hits_returned": min(returned),
        "p50_ms": round(1000 * statistics.median(seconds), 3),
        "p99_ms": round(1000 * float(np.percentile(seconds, 99)), 3),
    }


def ingest(store: LocalStore, vectors: np.ndarray) -> float:
    """Items a second, each call durable when it returns."""
    started = time.perf_counter()
    for start in range(0, len(vectors), CALL_ITEMS):
        part = vectors[start : start + CALL_ITEMS]
        items = [NewItem(id=str(n), vector=vector, metadata={"a": n % 100}) for n, vector in enumerate(part, start)]
        store.upsert(NAME, items)
    return len(vectors) / (time.perf_counter() - started)


def ingest_sqlite(path: Path, vectors: np.ndarray) -> float:
    """The same rows and syncs without anything around them."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT UNIQUE, metadata TEXT, vector BLOB)")
        started = time.perf_counter()
        for start in range(0, len(vectors), CALL_ITEMS):
            rows = [
                (str(n), json.dumps({"a": n % 100}), vector.tobytes())
                for n, vector in enumerate(vectors[start : start + CALL_ITEMS], start)
            ]
            with connection:
                connection.executemany("INSERT INTO items (name, metadata, vector) VALUES (?, ?, ?)", rows)
        return len(vectors) / (time.perf_counter() - started)


def ingest_faiss(kind: str, vectors: np.ndarray) -> float:
    """Into an index in memory, of which a crash leaves nothing; for ivf_pq what is added to a trained one."""
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(DIMENSION, 32, faiss.METRIC_INNER_PRODUCT)
    else:
        index = faiss.IndexIVFPQ(faiss.IndexFlatIP(DIMENSION), DIMENSION, 256, DIMENSION // 8, 8)
        index.train(vectors)
    started = time.perf_counter()
    index.add(vectors)
    return len(vectors) / (time.perf_counter() - started)


def find(store: LocalStore, query: np.ndarray, condition: Filter | None = None) -> list[int]:
    """Numbers of the K nearest items that the condition lets pass."""
    hits = store.search(NAME, SearchQuery(vector=query, k=K, filter=condition))
    return [int(hit.id) for hit in hits]


def filtered(store: LocalStore, vectors: np.ndarray, queries: np.ndarray) -> dict[str, object]:
    """The figures of searches with every filter, against the nearest of what it lets pass."""
    figures: dict[str, object] = {}
    for name, condition in FILTERS.items():
        chosen = np.flatnonzero(np.arange(len(vectors)) % 100 < SHARES[name])
        right = chosen[nearest(vectors[chosen], queries)]
        parsed = parse_filter(condition)
        figures[f"search, {name} selected"] = timed(lambda query, own=parsed: find(store, query, own), queries, right)
    return figures


def measure(items: int, kind: str, query_count: int, folder: Path) -> dict[str, object]:
    """All figures of one collection."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(2, items // PER_CENTRE), DIMENSION), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors, queries = clustered(items, centres, 1), clustered(query_count, centres, 2)
    truth = nearest(vectors, queries)
    process = psutil.Process()
    # Nothing is built while items come in, so that both can be timed by themselves.
    waiting = StoreSettings(tail_items=10_000_000)
    spec = CollectionSpec(
        name=NAME,
        model="benchmark",
        encoder_digest="0" * 64,
        dimension=DIMENSION,
        store_images=False,
        index=IndexSettings(kind=kind),  # type: ignore[arg-type]
    )
    store = LocalStore(folder / "store", waiting)
    store.create(spec)
    rate = ingest(store, vectors)
    store.close()
    before = process.memory_info().rss
    started = time.perf_counter()
    store = LocalStore(folder / "store", StoreSettings())
    store.warm()
    store.settle(7200)
    built_s = time.perf_counter() - started
    state = store.get(NAME).index
    assert state is not None
    assert (state.kind, state.built_items) == (kind, items), state

    figures: dict[str, object] = {"search": timed(lambda query: find(store, query), queries, truth)}
    memory = process.memory_info().rss - before
    figures |= filtered(store, vectors, queries)
    store.close()
    started = time.perf_counter()
    store = LocalStore(folder / "store", StoreSettings())
    store.warm()
    reopened_s = time.perf_counter() - started
    store.close()
    figures["raw FAISS, the same index"] = raw_search(folder, kind, queries, truth)
    some = vectors[:BASELINE_ITEMS]
    return {
        "items": items,
        "kind": kind,
        "dimension": DIMENSION,
        "ingestion_items_per_s": {
            "vlpserve, durable": round(rate),
            "SQLite alone, durable": round(ingest_sqlite(folder / "alone.sqlite3", some)),
            "FAISS alone, in memory": round(ingest_faiss(kind, some)),
        },
        "build_s": round(built_s, 1),
        "reopen_s": round(reopened_s, 2),
        "memory_mib": round(memory / 2**20),
        **figures,
    }


def raw_search(folder: Path, kind: str, queries: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The saved index, searched by FAISS alone: no metadata, no whole vectors behind codes, no deleted items."""
    (path,) = (folder / "store").rglob("index.faiss")
    ids = np.load(path.with_name("ids.npy"))
    index = faiss.read_index(str(path))
    faiss.omp_set_num_threads(1)
    if kind == "hnsw":
        parameters = faiss.SearchParametersHNSW(efSearch=IndexSettings().ef_search)
    else:
        parameters = faiss.SearchParametersIVF(nprobe=IndexSettings().nprobe)
    first = int(ids[0])

    def search(query: np.ndarray) -> list[int]:
        places = index.search(query[np.newaxis], K, params=parameters)[1][0]
        return [int(ids[place]) - first for place in places if place >= 0]

    return timed(search, queries, truth)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--kind", choices=("hnsw", "ivf_pq"), default="hnsw")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.items, options.kind, options.queries, Path(folder))
    machine = {"cpu": platform.processor() or platform.machine(), "cpus": os.cpu_count(), "faiss": faiss.__version__}
    tell({"machine": machine, **result}, options.out)


if __name__ == "__main__":
    main()
