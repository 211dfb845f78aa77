"""Vectors that are not in the built index yet: an array that grows, and is searched exactly.

One thread appends; any number search. A reader takes the length once and sees rows below it only, so nobody waits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vlp_server.index.scoring import NOTHING, Found, Ids, Matrix, best, score_places, score_rows
from vlp_server.index.store import Metric, Vector

_FIRST_ROWS = 256


class Tail:
    """Ids (ascending), vectors, and which of them are alive.

    Args:
        dimension: of a vector.
        capacity: rows to make room for at once.
    """

    def __init__(self, dimension: int, capacity: int = 0) -> None:
        rows = max(capacity, _FIRST_ROWS)
        self._ids: Ids = np.empty(rows, np.int64)
        self._vectors: Matrix = np.empty((rows, dimension), np.float32)
        self._alive: NDArray[np.bool_] = np.zeros(rows, np.bool_)
        self._size = 0
        self.deleted = 0

    def __len__(self) -> int:
        return self._size

    @property
    def ids(self) -> Ids:
        """(n,) of all rows, dead ones among them."""
        return self._ids[: self._size]

    def append(self, ids: Ids, vectors: Matrix) -> None:
        """Add rows; their ids are greater than all before."""
        start, end = self._size, self._size + len(ids)
        if end > len(self._ids):
            self._grow(end)
        self._ids[start:end] = ids
        self._vectors[start:end] = vectors
        self._alive[start:end] = True
        # Last: readers look no further than this.
        self._size = end

    def kill(self, ids: Ids) -> None:
        """Mark rows as deleted; ids that are not here are passed over."""
        places = places_of(self.ids, ids)
        self.deleted += int(np.count_nonzero(self._alive[places]))
        self._alive[places] = False

    def alive_rows(self, through: int) -> tuple[Ids, Matrix]:
        """Copies of the rows with id <= through that are alive."""
        size = int(np.searchsorted(self.ids, through, side="right"))
        alive = self._alive[:size]
        return self._ids[:size][alive], self._vectors[:size][alive]

    def after(self, through: int) -> Tail:
        """A new tail of the rows with a greater id; dead ones stay dead."""
        start = int(np.searchsorted(self.ids, through, side="right"))
        size = self._size - start
        rest = Tail(self._vectors.shape[1], 2 * size)
        rest.append(self._ids[start : self._size], self._vectors[start : self._size])
        rest._alive[:size] = self._alive[start : self._size]
        rest.deleted = size - int(np.count_nonzero(rest._alive[:size]))
        return rest

    def search(self, vector: Vector, k: int, allowed: Ids | None, metric: Metric) -> Found:
        """The k nearest that are alive and, where given, among the allowed ids (ascending)."""
        # The length first: arrays that replace these later have all rows below it too.
        size = self._size
        ids, vectors, alive = self._ids, self._vectors, self._alive
        if size == 0:
            return NOTHING
        if allowed is None:
            places = np.flatnonzero(alive[:size])
        else:
            places = places_of(ids[:size], allowed)
            places = places[alive[places]]
        if 2 * len(places) >= size:
            # A product with the whole array is faster than copying most of its rows.
            scores = score_rows(vectors[:size], vector, metric)[places]
        else:
            scores = score_places(vectors, places, vector, metric)
        return best(ids[places], scores, k)

    def _grow(self, needed: int) -> None:
        rows = max(needed, 2 * len(self._ids))
        grown_vectors = np.empty((rows, self._vectors.shape[1]), np.float32)
        grown_vectors[: self._size] = self._vectors[: self._size]
        # `resize` would move memory that a reader looks at; these are copies.
        grown_ids = np.concatenate([self._ids[: self._size], np.empty(rows - self._size, np.int64)])
        grown_alive = np.concatenate([self._alive[: self._size], np.zeros(rows - self._size, np.bool_)])
        self._ids, self._vectors, self._alive = grown_ids, grown_vectors, grown_alive


def places_of(ids: Ids, wanted: Ids) -> Ids:
    """Where the wanted ids stand in `ids`; those that are not there are left out. Both ascend."""
    if not len(ids) or not len(wanted):
        return np.empty(0, np.int64)
    low, high = np.searchsorted(wanted, ids[0]), np.searchsorted(wanted, ids[-1], side="right")
    wanted = wanted[low:high]
    places = np.searchsorted(ids, wanted)
    found: Ids = places[ids[places] == wanted]
    return found
