"""Which task the next request is of."""

from __future__ import annotations

import itertools
import random
from bisect import bisect
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vlp_loadtest.task_requests import TASKS


class Mix:
    """Draws tasks by their weights.

    Args:
        weights: by task; at least one is above 0.

    Raises:
        ValueError: none is, or one is below 0.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = {name: weight for name, weight in weights.items() if weight != 0}
        if not self.weights or min(self.weights.values()) < 0:
            raise ValueError("weights: expected one above 0, and none below")
        self._names = tuple(self.weights)
        self._bounds = list(itertools.accumulate(self.weights.values()))

    def draw(self, chance: random.Random) -> str:
        """A task."""
        return self._names[min(bisect(self._bounds, chance.random() * self._bounds[-1]), len(self._names) - 1)]


def served_tasks(models: Sequence[Mapping[str, Any]], model: str | None) -> set[str]:
    """The tasks of a server's list of models (`data` of /v1/models), or of one of them."""
    name = None if model is None else model.partition("@")[0]
    return {str(task) for one in models if name in (None, one["name"]) for task in one["tasks"]}


def chosen_weights(
    served: Collection[str], *, wanted: Collection[str] = (), collection: str | None, bulk_share: float = 0.0
) -> dict[str, float]:
    """Weights of the tasks that can be asked of a server.

    Args:
        served: its tasks.
        wanted: these alone; none: all but those that write.
        collection: None: there is none to be searched.
        bulk_share: of all requests, that add pictures to the collection: 0 to below 1.

    Returns:
        by task; empty where there is nothing to ask.
    """
    weights = {
        name: kind.weight or 1.0
        for name, kind in TASKS.items()
        if kind.served_as in served
        and (collection is not None or not kind.in_collection)
        and (name in wanted if wanted else not kind.writes)
    }
    if bulk_share > 0 and collection is not None and "embeddings" in served:
        others = sum(weight for name, weight in weights.items() if name != "index")
        weights["index"] = others * bulk_share / (1 - bulk_share) if others else 1.0
    return weights
