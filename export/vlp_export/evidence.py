"""What the proof is made on: samples through the serving pipeline, and the checkpoint's own outputs for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from vlp_pipeline.pipeline import Item
from vlp_pipeline.registry import Pipeline
from vlp_spec.tasks import Task

from vlp_export.plan import Arrays, ExportPlan, GraphPlan
from vlp_export.proof import ProofSample, SampleBatch
from vlp_export.sample_items import run_module, sample_items
from vlp_export.samples import RawSample

_BATCH = 4


@dataclass(frozen=True, slots=True)
class GraphEvidence:
    """Samples of one graph in every form that the proof and the canary need.

    Attributes:
        items: what the pipeline made of each sample.
        samples: each alone, with the checkpoint's outputs.
        batches: the same in company of other sizes.
    """

    pipeline: Pipeline
    items: list[Item]
    samples: list[ProofSample]
    batches: list[SampleBatch]

    def head(self, count: int) -> GraphEvidence:
        """The first samples alone, in whole batches: enough to see whether a graph is another one."""
        batches = [batch for batch in self.batches if max(batch.rows) < count]
        return replace(self, samples=self.samples[:count], batches=batches) if batches else self

    def canary(self, chosen: Sequence[int]) -> Arrays:
        """Arrays `input.<name>` and `output.<name>` of a small batch; the outputs are the checkpoint's."""
        inputs = self.pipeline.collate([self.items[index] for index in chosen])
        arrays = {f"input.{name}": array for name, array in inputs.items()}
        for name in self.samples[0].expected:
            arrays[f"output.{name}"] = np.concatenate([self.samples[index].expected[name] for index in chosen])
        return arrays


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
        samples = [_reference(graph, pipeline, item) for item in items]
        evidence[graph.role] = GraphEvidence(pipeline, items, samples, _mixed_batches(pipeline, items, company))
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


def _reference(graph: GraphPlan, pipeline: Pipeline, item: Item) -> ProofSample:
    """The checkpoint's outputs for one sample alone."""
    feeds = pipeline.collate([item])
    return ProofSample(feeds, run_module(graph, feeds))


def _mixed_batches(pipeline: Pipeline, items: Sequence[Item], company: int) -> list[SampleBatch]:
    """Every sample in a batch with others, which are of other sizes as a rule; a last one beside the first.

    Args:
        pipeline: puts batches together.
        items: all samples.
        company: items of a batch; 1 where the graph takes no more.
    """
    groups = [tuple(range(start, min(start + company, len(items)))) for start in range(0, len(items), company)]
    rows = [group if len(group) > 1 or company == 1 else (0, *group) for group in groups]
    return [SampleBatch(pipeline.collate([items[index] for index in group]), group) for group in rows]
