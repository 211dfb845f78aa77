"""What the proof is made on: samples through the serving pipeline, and the checkpoint's own outputs for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
from vlp_pipeline.pipeline import Item
from vlp_pipeline.registry import Pipeline
from vlp_spec.tasks import Task

from vlp_export.module_runs import run_module
from vlp_export.plan import Arrays, ExportPlan
from vlp_export.proof import ProofSample, SampleBatch
from vlp_export.sample_items import sample_items
from vlp_export.samples import RawSample

_BATCH = 4
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class GraphEvidence:
    """Samples of one graph in every form that the proof and the canary need.

    Inputs are put together when they are asked for: what a decoder looks at is tens of megabytes a sample.

    Attributes:
        items: what the pipeline made of each sample.
        expected: the checkpoint's outputs for each, batch first.
        groups: numbers of the samples of each batch, which are of other sizes as a rule.
    """

    pipeline: Pipeline
    items: list[Item]
    expected: list[Arrays]
    groups: list[tuple[int, ...]]

    @property
    def samples(self) -> Sequence[ProofSample]:
        """Each sample alone, with the checkpoint's outputs."""
        return _Made(len(self.expected), lambda index: ProofSample(self._feeds([index]), self.expected[index]))

    @property
    def batches(self) -> Sequence[SampleBatch]:
        """The same in company of other sizes."""
        groups = self.groups
        return _Made(len(groups), lambda index: SampleBatch(self._feeds(groups[index]), groups[index]))

    def head(self, count: int) -> GraphEvidence:
        """The first samples alone, in whole batches: enough to see whether a graph is another one."""
        groups = [group for group in self.groups if max(group) < count]
        return replace(self, expected=self.expected[:count], groups=groups) if groups else self

    def canary(self, chosen: Sequence[int]) -> Arrays:
        """Arrays `input.<name>` and `output.<name>` of a small batch; the outputs are the checkpoint's."""
        arrays = {f"input.{name}": array for name, array in self._feeds(chosen).items()}
        for name in self.expected[0]:
            arrays[f"output.{name}"] = np.concatenate([self.expected[index][name] for index in chosen])
        return arrays

    def _feeds(self, chosen: Sequence[int]) -> Arrays:
        return self.pipeline.collate([self.items[index] for index in chosen])


class _Made(Sequence[Made]):
    """A sequence whose entries are made anew each time they are asked for."""

    def __init__(self, count: int, make: Callable[[int], Made]) -> None:
        self._range, self._make = range(count), make

    def __len__(self) -> int:
        return len(self._range)

    @overload
    def __getitem__(self, index: int) -> Made: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Made]: ...

    def __getitem__(self, index: int | slice) -> Made | Sequence[Made]:
        chosen = self._range[index]
        return self._make(chosen) if isinstance(chosen, int) else [self._make(number) for number in chosen]


Evidence = dict[str, GraphEvidence]
"""Role of a graph -> what it is measured on; the samples are the same in number and order."""


def gather_evidence(plan: ExportPlan, pipeline: Pipeline, raw: Sequence[RawSample]) -> Evidence:
    """Send samples through the pipeline and the checkpoint.

    Args:
        plan: of the graphs; their modules are the checkpoint.
        pipeline: of the deployment that is being made.
        raw: at least one.
    """
    company = min(_BATCH, plan.axes["batch"].max)
    rows = _distinct(list(sample_items(plan, pipeline, raw)), plan.tasks[0])
    evidence = {}
    for graph in plan.graphs:
        items = [item for row in rows for item in row if item.role == graph.role]
        expected = [run_module(graph, pipeline.collate([item])) for item in items]
        evidence[graph.role] = GraphEvidence(pipeline, items, expected, _mixed_groups(len(items), company))
    return evidence


def write_canary(evidence: Evidence, chosen: Sequence[int], path: Path) -> None:
    """Write the chosen samples' arrays for all graphs as one .npz."""
    arrays: Arrays = {}
    for graph in evidence.values():
        arrays |= graph.canary(chosen)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _distinct(rows: list[list[Item]], task: Task) -> list[list[Item]]:
    """Where texts have a graph of their own, each once: of two that are the same, neither fits a picture best."""
    if task is not Task.EMBEDDINGS:
        return rows
    seen: dict[bytes, list[Item]] = {}
    for row in rows:
        seen.setdefault(b"".join(array.tobytes() for array in row[-1].arrays.values()), row)
    return list(seen.values())


def _mixed_groups(samples: int, company: int) -> list[tuple[int, ...]]:
    """Every sample in a batch with others, which are of other sizes as a rule; a last one beside the first.

    Args:
        samples: how many there are.
        company: items of a batch; 1 where the graph takes no more.
    """
    groups = [tuple(range(start, min(start + company, samples))) for start in range(0, samples, company)]
    return [group if len(group) > 1 or company == 1 else (0, *group) for group in groups]
