"""What an inference request costs, before anything of it is computed: the same as over the other APIs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray
from vlp_spec.tasks import Task

from vlp_server.access.prices import Weight, embedding_weight, pictures_weight, queries_weight, tensors_weight
from vlp_server.config.settings import LimitsConfig
from vlp_server.task_models.task_queries import checked_options, task_queries
from vlp_server.task_models.task_records import TaskRequest

Charge = Callable[[Weight, Task | None], None]
"""Lets the caller pay for a task, or for a graph; RateLimitedError where it asks too much."""


def graph_weight(feeds: Mapping[str, NDArray[Any]]) -> Weight:
    """Of a graph's inputs: by their bytes."""
    return tensors_weight(sum(array.nbytes for array in feeds.values()))


def task_weight(task: Task, asked: TaskRequest, limits: LimitsConfig) -> Weight:
    """Of what is asked of a task.

    Raises:
        InvalidArgumentError, TooLargeError: it asks what no task answers, or more than a limit.
    """
    options = checked_options(task, asked, limits)
    match task:
        case Task.EMBEDDINGS:
            return embedding_weight(asked.texts, len(asked.images))
        case Task.REGIONS:
            return pictures_weight(1)
        case _:
            return queries_weight(task_queries(task, asked, options), 2 if task is Task.REASONING else 1)
