"""Makes FAISS indexes: from the database, or from an index that is there and vectors that came after it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from vlp_server.index.faiss_library import has_gpu, load_faiss
from vlp_server.index.scoring import Ids, Matrix
from vlp_server.index.settings import IndexKind, IndexSettings
from vlp_server.index.store import Metric

logger = logging.getLogger(__name__)
# FAISS adds so many at a time, so that a store that closes waits no longer than for these.
_ADD_ROWS = 2048
_PQ_BITS = 8
# Codes of 8 bits have 256 values a part; k-means wants 39 examples of each and complains with fewer.
MIN_FOR_CODES = 39 * 256
_EXAMPLES_PER_CELL = 64
Chunks = Iterable[tuple[Ids, Matrix]]
Stopped = Callable[[], bool]


class BuildStoppedError(Exception):
    """The store closes; what was built so far is thrown away."""


def kind_to_build(settings: IndexSettings, items: int) -> IndexKind:
    """What a collection of so many items is searched with."""
    kind = settings.kind_for(items)
    return "flat" if kind == "ivf_pq" and items < MIN_FOR_CODES else kind


def empty_index(kind: IndexKind, dimension: int, metric: Metric, settings: IndexSettings, items: int) -> Any:
    """A FAISS index without vectors, not trained.

    Args:
        kind: flat, hnsw or ivf_pq.
        dimension: of a vector.
        metric: of the collection.
        settings: of the collection.
        items: how many it will hold, for the number of cells.
    """
    faiss = load_faiss()
    measure = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        return faiss.IndexFlat(dimension, measure)
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(dimension, settings.hnsw_links, measure)
        index.hnsw.efConstruction = settings.ef_construction
        return index
    quantizer = faiss.IndexFlat(dimension, measure)
    code_bytes = settings.pq_bytes or _code_bytes(dimension)
    cells = max(1, min(settings.ivf_lists or round(4 * math.sqrt(items)), items // 39))
    index = faiss.IndexIVFPQ(quantizer, dimension, cells, code_bytes, _PQ_BITS, measure)
    # Every vector a different start would make two builds of the same data differ.
    index.cp.seed = 1
    return index


def examples_wanted(index: Any) -> int:
    """How many vectors the index should be trained with; 0 when it learns nothing."""
    if index.is_trained:
        return 0
    return int(max(MIN_FOR_CODES, _EXAMPLES_PER_CELL * index.nlist))


def fill_index(index: Any, chunks: Chunks, stopped: Stopped) -> Ids:
    """Add vectors to a trained index.

    Returns:
        (n,) ids in the order of the index.

    Raises:
        BuildStoppedError: `stopped` said so.
    """
    all_ids: list[Ids] = []
    for ids, vectors in chunks:
        for start in range(0, len(ids), _ADD_ROWS):
            if stopped():
                raise BuildStoppedError
            index.add(np.ascontiguousarray(vectors[start : start + _ADD_ROWS]))
        all_ids.append(ids)
    return np.concatenate(all_ids) if all_ids else np.empty(0, np.int64)


def copy_index(index: Any) -> Any:
    """A copy in memory, that vectors can be added to while the original is searched."""
    return load_faiss().clone_index(index)


def to_gpu(kind: IndexKind, index: Any) -> Any:
    """The index on the first GPU; None where there is none, or for a kind that GPUs do not have."""
    if kind == "hnsw" or not has_gpu():
        return None
    faiss = load_faiss()
    resources = faiss.StandardGpuResources()
    try:
        copy = faiss.index_cpu_to_gpu(resources, 0, index)
    except RuntimeError as error:  # codes of a size that GPUs do not have, or no memory left
        logger.warning("an index of kind %s stays on the CPU: %s", kind, error)
        return None
    # The copy uses them and does not keep them.
    copy.vlp_resources = resources
    return copy


def _code_bytes(dimension: int) -> int:
    """The divisor of the dimension that is nearest to an eighth of it."""
    wanted = dimension / 8
    divisors = [size for size in range(1, dimension + 1) if dimension % size == 0]
    return min(divisors, key=lambda size: abs(math.log(size / wanted)))
