"""What the proof is made on: samples through the serving pipeline, and the checkpoint's own outputs for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from vlp_pipeline.pipeline import Item, VqaPipeline
from vlp_spec.tasks import VqaQuery

from vlp_export.plan import Arrays, ExportPlan
from vlp_export.proof import ProofSample, SampleBatch
from vlp_export.samples import RawSample

_BATCH = 4


@dataclass(frozen=True, slots=True)
class Evidence:
    """Samples in every form that the proof and the canary need.

    Attributes:
        items: what the pipeline made of each sample.
        samples: each alone, with the checkpoint's outputs.
        batches: the same in company of other sizes.
    """

    pipeline: VqaPipeline
    items: list[Item]
    samples: list[ProofSample]
    batches: list[SampleBatch]

    def head(self, count: int) -> Evidence:
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


def gather_evidence(plan: ExportPlan, pipeline: VqaPipeline, raw: Sequence[RawSample]) -> Evidence:
    """Send samples through the pipeline and the checkpoint.

    Args:
        plan: of the graph; its module is the checkpoint.
        pipeline: of the deployment that is being made.
        raw: at least one.
    """
    items = [pipeline.prepare(pipeline.prepare_image(sample.image), VqaQuery(sample.question)) for sample in raw]
    samples = [_reference(plan, pipeline, item) for item in items]
    return Evidence(pipeline, items, samples, _mixed_batches(pipeline, items))


def write_canary(canary: Arrays, path: Path) -> None:
    """Write a canary's arrays as .npz."""
    np.savez_compressed(path, **canary)  # type: ignore[arg-type]


def _reference(plan: ExportPlan, pipeline: VqaPipeline, item: Item) -> ProofSample:
    """The checkpoint's outputs for one sample alone."""
    feeds = pipeline.collate([item])
    with torch.no_grad():
        outputs = plan.graph.module(*(torch.from_numpy(feeds[spec.name]) for spec in plan.graph.inputs))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    expected = {spec.name: output.numpy() for spec, output in zip(plan.graph.outputs, outputs, strict=True)}
    return ProofSample(feeds, expected)


def _mixed_batches(pipeline: VqaPipeline, items: Sequence[Item]) -> list[SampleBatch]:
    """Every sample in a batch with others, which are of other sizes as a rule; a last one beside the first."""
    groups = [tuple(range(start, min(start + _BATCH, len(items)))) for start in range(0, len(items), _BATCH)]
    rows = [group if len(group) > 1 else (0, *group) for group in groups]
    return [SampleBatch(pipeline.collate([items[index] for index in group]), group) for group in rows]
