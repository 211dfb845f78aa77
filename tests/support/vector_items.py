"""Collections and items for tests of stores: clustered vectors from a stated generator, and the exact answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from vlp_server.index.settings import StoreSettings
from vlp_server.index.store import CollectionSpec, NewItem

DIGEST = "a" * 64
OTHER_DIGEST = "b" * 64
# Indexes are built at a size that tests can have.
SMALL = StoreSettings(tail_items=100, tail_share=0.0, dead_share=0.2, build_threads=1)


def spec_of(name: str = "pictures", dimension: int = 8, **changes: Any) -> CollectionSpec:
    """A specification; anything in it may be changed."""
    members: dict[str, Any] = {"name": name, "model": "clip", "encoder_digest": DIGEST, "dimension": dimension}
    return CollectionSpec(**{**members, **changes})


def clustered(count: int, dimension: int = 8, seed: int = 0) -> np.ndarray:
    """(count, dimension) float32 around some centres: what embeddings look like, as uniform noise does not."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((max(2, count // 50), dimension))
    places = generator.integers(0, len(centres), count)
    return (centres[places] + 0.3 * generator.standard_normal((count, dimension))).astype(np.float32)


def items_of(vectors: np.ndarray, first: int = 0) -> list[NewItem]:
    """An item for each vector, with metadata n = its number and parity "even" or "odd"."""
    return [
        NewItem(id=f"item-{n}", vector=vector, metadata={"n": n, "parity": "odd" if n % 2 else "even"})
        for n, vector in enumerate(vectors, first)
    ]


def exact_scores(vectors: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
    """(n,) scores in double precision, written down anew from the definition of the metrics."""
    vectors, query = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "l2":
        return -np.linalg.norm(vectors - query, axis=1)
    if metric == "cosine":
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        query = query / np.linalg.norm(query)
    return vectors @ query


def exact_ids(vectors: np.ndarray, query: np.ndarray, metric: str, k: int) -> list[str]:
    """Names, as `items_of` gives them, of the k nearest."""
    order = np.argsort(-exact_scores(vectors, query, metric), kind="stable")[:k]
    return [f"item-{n}" for n in order]


def statuses(results: Sequence[Any]) -> list[str]:
    """What became of each item."""
    return [result.status for result in results]
