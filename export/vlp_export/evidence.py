"""What the proof is made on: samples through the serving pipeline, and the checkpoint's own outputs for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from vlp_pipeline.pipeline import EmbeddingPipeline, Item, MatchPipeline, VqaPipeline
from vlp_pipeline.registry import Pipeline
from vlp_spec.tasks import Task, VqaQuery

from vlp_export.plan import Arrays, ExportPlan, GraphPlan
from vlp_export.proof import ProofSample, SampleBatch
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
    rows = _distinct([_items(plan.tasks[0], pipeline, sample) for sample in raw])
    evidence = {}
    for graph in plan.graphs:
        items = [item for row in rows for item in row if item.role == graph.role]
        samples = [_reference(graph, pipeline, item) for item in items]
        evidence[graph.role] = GraphEvidence(pipeline, items, samples, _mixed_batches(pipeline, items))
    return evidence


def write_canary(evidence: Evidence, chosen: Sequence[int], path: Path) -> None:
    """Write the chosen samples' arrays for all graphs as one .npz."""
    arrays: Arrays = {}
    for graph in evidence.values():
        arrays |= graph.canary(chosen)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _items(task: Task, pipeline: Pipeline, sample: RawSample) -> list[Item]:
    """What each graph is given for a sample."""
    image = pipeline.prepare_image(sample.image)
    if task is Task.VQA:
        return [cast(VqaPipeline, pipeline).prepare(image, VqaQuery(sample.text))]
    if task is Task.MATCH:
        return [cast(MatchPipeline, pipeline).prepare(image, sample.text)]
    embedding = cast(EmbeddingPipeline, pipeline)
    return [embedding.image_item(image), embedding.text_item(sample.text)]


def _distinct(rows: list[list[Item]]) -> list[list[Item]]:
    """Where texts have a graph of their own, each once: of two that are the same, neither fits a picture best."""
    if len(rows[0]) == 1:
        return rows
    seen: dict[bytes, list[Item]] = {}
    for row in rows:
        seen.setdefault(b"".join(array.tobytes() for array in row[-1].arrays.values()), row)
    return list(seen.values())


def _reference(graph: GraphPlan, pipeline: Pipeline, item: Item) -> ProofSample:
    """The checkpoint's outputs for one sample alone."""
    feeds = pipeline.collate([item])
    with torch.no_grad():
        outputs = graph.module(*(torch.from_numpy(feeds[spec.name]) for spec in graph.inputs))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    expected = {spec.name: output.numpy() for spec, output in zip(graph.outputs, outputs, strict=True)}
    return ProofSample(feeds, expected)


def _mixed_batches(pipeline: Pipeline, items: Sequence[Item]) -> list[SampleBatch]:
    """Every sample in a batch with others, which are of other sizes as a rule; a last one beside the first."""
    groups = [tuple(range(start, min(start + _BATCH, len(items)))) for start in range(0, len(items), _BATCH)]
    rows = [group if len(group) > 1 else (0, *group) for group in groups]
    return [SampleBatch(pipeline.collate([items[index] for index in group]), group) for group in rows]
