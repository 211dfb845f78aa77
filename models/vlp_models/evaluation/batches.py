"""Run many rows through a graph, those of like sizes together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from vlp_pipeline.pipeline import Item

# Batches that are sorted by size together: enough to pad little, few enough to hold in memory.
POOL_BATCHES = 8
Outputs = Mapping[str, np.ndarray]


def run_items(
    items: Sequence[Item],
    collate: Callable[[Sequence[Item]], Mapping[str, np.ndarray]],
    forward: Callable[[Mapping[str, np.ndarray]], Outputs],
    batch_size: int,
) -> list[Outputs]:
    """Each item's own row of the outputs, in the order of the items."""
    order = sorted(range(len(items)), key=lambda index: tuple(sorted(items[index].sizes.items())))
    found: dict[int, Outputs] = {}
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        outputs = forward(collate([items[row] for row in rows]))
        for place, row in enumerate(rows):
            found[row] = {name: array[place] for name, array in outputs.items()}
    return [found[row] for row in range(len(items))]
