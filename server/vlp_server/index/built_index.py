"""A FAISS index over vectors that were there when it was built. Immutable but for the marks on deleted ones.

Vectors stand in it in the order of their ids, so a place in the index is a place in `ids`, and which of them may be
hits is one bit each: faiss.IDSelectorBitmap, the quickest of its selectors.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlp_server.index.faiss_library import load_faiss, use_threads
from vlp_server.index.scoring import NOTHING, Found, Ids, Matrix, Scores, best, score_places, score_rows
from vlp_server.index.settings import IndexKind, IndexSettings
from vlp_server.index.store import Metric, SearchEffort, Vector
from vlp_server.index.tail import places_of

ReadVectors = Callable[[Ids], tuple[Ids, Matrix]]
Mask = NDArray[np.bool_]
# So few items are scored one by one, whatever the index: nothing is faster.
ALWAYS_EXACT = 512
# Codes need the vectors from the database for exact scores; beyond this many the codes are quicker.
EXACT_FROM_DATABASE = 2048
# Ids may be spread over a range this many times their number before a table over the range is too large.
_SPARSE = 16


class BuiltIndex:
    """Searches `ids` by a FAISS index of the same order.

    Args:
        kind: of the index.
        ids: (n,) ascending.
        index: FAISS index of n vectors; position i is ids[i].
        metric: of the collection.
        settings: of the collection.
        trained_on: how many vectors there were when cells and codes were learned ("ivf_pq").
        read_vectors: whole vectors by id, for "ivf_pq", whose index holds codes only.
        gpu: the same index on a GPU, if there is one.
    """

    def __init__(
        self,
        *,
        kind: IndexKind,
        ids: Ids,
        index: Any,
        metric: Metric,
        settings: IndexSettings,
        trained_on: int,
        read_vectors: ReadVectors,
        gpu: Any = None,
    ) -> None:
        self.kind: IndexKind = kind
        self.ids = ids
        self.index = index
        self.trained_on = trained_on
        self.deleted = 0
        self.alive: Mask = np.ones(len(ids), np.bool_)
        self._metric: Metric = metric
        self._settings = settings
        self._read_vectors = read_vectors
        self._gpu = gpu
        self._gpu_lock = threading.Lock()
        self._vectors = None if kind == "ivf_pq" else _stored_vectors(kind, index)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def through(self) -> int:
        """The greatest id that was there when it was built, as far as it holds it."""
        return int(self.ids[-1]) if len(self.ids) else 0

    def kill(self, ids: Ids) -> None:
        """Mark ids as deleted; those that are not here are passed over."""
        places = places_of(self.ids, ids)
        self.deleted += int(np.count_nonzero(self.alive[places]))
        self.alive[places] = False

    def mask_of(self, allowed: Ids) -> Mask:
        """(n,) whether each of the index's ids is among the allowed (ascending)."""
        mask: Mask = np.zeros(len(self.ids), np.bool_)
        if not len(self.ids) or not len(allowed):
            return mask
        low, high = int(self.ids[0]), int(self.ids[-1])
        if high - low >= _SPARSE * len(self.ids):
            mask[places_of(self.ids, allowed)] = True
            return mask
        table = np.zeros(high - low + 1, np.bool_)
        inside = allowed[(allowed >= low) & (allowed <= high)]
        table[inside - low] = True
        picked: Mask = table[self.ids - low]
        return picked

    def search(self, vector: Vector, k: int, mask: Mask | None, effort: SearchEffort) -> Found:
        """The k nearest that are alive and, where given, in the mask; k of them where k or more are.

        Args:
            vector: (dimension,) float32.
            k: 1 or more.
            mask: (n,) of the ids that may be hits.
            effort: of this search alone: it goes into FAISS's parameters of the call, never into the index.
        """
        use_threads(1)
        selected = self.alive if mask is None else self.alive & mask
        count = len(self.ids) - self.deleted if mask is None else int(np.count_nonzero(selected))
        k = min(k, count)
        if k <= 0:
            return NOTHING
        everything = mask is None and count == len(self.ids)
        if effort.exact or count <= self._exact_below(k, effort):
            return self._exact(vector, k, selected, everything)
        if self.kind == "flat":
            return self._flat(vector, k, selected, everything)
        if self.kind == "hnsw":
            found = self._graph(vector, k, selected, count, effort)
        else:
            found = self._cells(vector, k, selected, count, effort)
        # A graph may have corners that no link leads to, and cells may lie further off than was looked.
        return found if len(found.ids) == k else self._thorough(vector, k, selected, everything)

    def _exact_below(self, k: int, effort: SearchEffort) -> float:
        """Up to how many selected items scoring each of them costs less than the index does."""
        if self.kind == "flat":
            return ALWAYS_EXACT
        if self.kind == "ivf_pq":
            return EXACT_FROM_DATABASE
        # The graph is walked through items that are not selected too: it looks at ef / share nodes, each with its
        # links. Equal at count = ef * total / count * links.
        candidates = max(effort.ef_search or self._settings.ef_search, k)
        return max(ALWAYS_EXACT, math.sqrt(candidates * self._settings.hnsw_links * len(self.ids)))

    def _exact(self, vector: Vector, k: int, selected: Mask, everything: bool) -> Found:
        if self._vectors is None:
            return self._exact_from_database(vector, k, self.ids[selected])
        if everything:
            return best(self.ids, score_rows(self._vectors, vector, self._metric), k)
        places = np.flatnonzero(selected)
        return best(self.ids[places], score_places(self._vectors, places, vector, self._metric), k)

    def _exact_from_database(self, vector: Vector, k: int, ids: Ids) -> Found:
        found = NOTHING
        for start in range(0, len(ids), 4096):
            there, matrix = self._read_vectors(ids[start : start + 4096])
            if len(there):
                some = best(there, score_rows(matrix, vector, self._metric), k)
                found = best(np.concatenate([found.ids, some.ids]), np.concatenate([found.scores, some.scores]), k)
        return found

    def _flat(self, vector: Vector, k: int, selected: Mask, everything: bool) -> Found:
        if everything and self._gpu is not None:
            return self._on_gpu(vector, k, None)
        faiss = load_faiss()
        parameters = None if everything else faiss.SearchParameters(sel=_selector(selected))
        return self._ask(self.index, vector, k, parameters)

    def _graph(self, vector: Vector, k: int, selected: Mask, count: int, effort: SearchEffort) -> Found:
        faiss = load_faiss()
        candidates = max(effort.ef_search or self._settings.ef_search, k)
        if count == len(self.ids):
            return self._ask(self.index, vector, k, faiss.SearchParametersHNSW(efSearch=candidates))
        # So that as many selected ones are among the candidates as there would be without a selection.
        candidates = min(math.ceil(candidates * len(self.ids) / count), len(self.ids))
        parameters = faiss.SearchParametersHNSW(efSearch=candidates, sel=_selector(selected))
        return self._ask(self.index, vector, k, parameters)

    def _cells(self, vector: Vector, k: int, selected: Mask, count: int, effort: SearchEffort) -> Found:
        probes = min(effort.nprobe or self._settings.nprobe, self.index.nlist)
        if count == len(self.ids):
            return self._probed(vector, k, None, probes)
        # The same number of codes is scored as without a selection.
        probes = min(math.ceil(probes * len(self.ids) / count), self.index.nlist)
        return self._probed(vector, k, selected, probes)

    def _thorough(self, vector: Vector, k: int, selected: Mask, everything: bool) -> Found:
        if self.kind == "ivf_pq":
            return self._probed(vector, k, None if everything else selected, self.index.nlist)
        return self._exact(vector, k, selected, everything)

    def _probed(self, vector: Vector, k: int, selected: Mask | None, probes: int) -> Found:
        """Candidates by their codes, then scored with their whole vectors."""
        faiss = load_faiss()
        wanted = min(k * self._settings.refine, len(self.ids))
        if selected is None and self._gpu is not None:
            candidates = self._on_gpu(vector, wanted, faiss.SearchParametersIVF(nprobe=probes))
        elif selected is None:
            candidates = self._ask(self.index, vector, wanted, faiss.SearchParametersIVF(nprobe=probes))
        else:
            parameters = faiss.SearchParametersIVF(nprobe=probes, sel=_selector(selected))
            candidates = self._ask(self.index, vector, wanted, parameters)
        return self._exact_from_database(vector, k, candidates.ids)

    def _on_gpu(self, vector: Vector, k: int, parameters: Any) -> Found:
        # One stream of memory: two threads at a time would write over each other's results.
        with self._gpu_lock:
            return self._ask(self._gpu, vector, k, parameters)

    def _ask(self, index: Any, vector: Vector, k: int, parameters: Any) -> Found:
        distances, places = index.search(vector[np.newaxis], k, params=parameters)
        real = places[0] >= 0
        scores: Scores = distances[0][real]
        if self._metric == "l2":
            scores = -np.sqrt(np.maximum(scores, 0.0))
        return best(self.ids[places[0][real]], scores, k)


def _selector(selected: Mask) -> Any:
    return load_faiss().IDSelectorBitmap(np.packbits(selected, bitorder="little"))


def _stored_vectors(kind: IndexKind, index: Any) -> Matrix:
    """The vectors inside the index, not a copy."""
    faiss = load_faiss()
    storage = faiss.downcast_index(index.storage) if kind == "hnsw" else index
    if storage.ntotal == 0:
        return np.empty((0, storage.d), np.float32)
    return np.asarray(faiss.rev_swig_ptr(storage.get_xb(), storage.ntotal * storage.d).reshape(-1, storage.d))
