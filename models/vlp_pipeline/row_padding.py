"""Batches of rows that grow along several axes: how, the graph's own inputs tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from vlp_spec.tensors import TensorSpec

from vlp_pipeline.pipeline import Item


def stack_rows(
    items: Sequence[Item], inputs: Sequence[TensorSpec], sizes: Mapping[str, int], fills: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Stack the arrays of items, each padded at the end of every axis that has a name.

    Args:
        items: at least one; all with these inputs.
        inputs: of the graph; axis 0 is the batch.
        sizes: axis -> its size in the batch.
        fills: input -> the value of what is added; 0 where it has none.

    Returns:
        input -> (items, ...), C-contiguous.
    """
    batch: dict[str, np.ndarray] = {}
    for spec in inputs:
        rows = [item.arrays[spec.name] for item in items]
        wanted = tuple(sizes[size] if isinstance(size, str) else size for size in spec.shape[1:])
        if len(rows) == 1 and rows[0].shape == wanted:
            # Not copied: what was seen in a picture is tens of megabytes.
            batch[spec.name] = np.asarray(rows[0], order="C")[None]
            continue
        if all(isinstance(size, int) for size in spec.shape[1:]):
            batch[spec.name] = np.stack(rows)
            continue
        stacked = np.full((len(rows), *wanted), fills.get(spec.name, 0), dtype=rows[0].dtype)
        for target, row in zip(stacked, rows, strict=True):
            target[tuple(slice(size) for size in row.shape)] = row
        batch[spec.name] = stacked
    return batch
