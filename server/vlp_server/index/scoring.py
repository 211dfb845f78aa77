"""Exact scores, and the best of them. Plain numpy; a higher score is nearer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlp_server.index.store import Metric, Vector

Ids = NDArray[np.int64]
Matrix = NDArray[np.float32]
Scores = NDArray[np.float32]
_ROWS = 16_384
"""Vectors that are scored in one go: bounds the memory for a copy of them."""


class Found(NamedTuple):
    """Rows that a search found, nearest first: (n,) ids and (n,) scores."""

    ids: Ids
    scores: Scores


NOTHING = Found(np.empty(0, np.int64), np.empty(0, np.float32))


def score_rows(matrix: Matrix, vector: Vector, metric: Metric) -> Scores:
    """(n,) scores of (n, dimension) vectors."""
    if metric != "l2":
        scores: Scores = matrix @ vector
        return scores
    scores = np.empty(len(matrix), np.float32)
    for start in range(0, len(matrix), _ROWS):
        difference = matrix[start : start + _ROWS] - vector
        scores[start : start + _ROWS] = -np.sqrt(np.einsum("nd,nd->n", difference, difference))
    return scores


def score_places(matrix: Matrix, places: Ids, vector: Vector, metric: Metric) -> Scores:
    """(m,) scores of the rows of `matrix` at (m,) places; only some of them are copied at a time."""
    scores = np.empty(len(places), np.float32)
    for start in range(0, len(places), _ROWS):
        some = places[start : start + _ROWS]
        scores[start : start + len(some)] = score_rows(matrix[some], vector, metric)
    return scores


def best(ids: Ids, scores: Scores, k: int) -> Found:
    """The k highest, nearest first; of equal scores the smaller id comes first."""
    if len(ids) > k:
        # All that could be among the k best, ties at the edge included, so that the order does not depend on chance.
        edge = np.partition(scores, len(scores) - k)[len(scores) - k]
        candidates = scores >= edge
        ids, scores = ids[candidates], scores[candidates]
    order = np.lexsort((ids, -scores))[:k]
    return Found(ids[order], scores[order])


def merge(found: list[Found], k: int) -> Found:
    """The k best of several answers."""
    if not found:
        return NOTHING
    return best(np.concatenate([one.ids for one in found]), np.concatenate([one.scores for one in found]), k)
