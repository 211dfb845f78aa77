"""What a deployment's graphs are given for a sample: the serving pipeline's own rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from vlp_models.evaluation.onnx_runner import Runner
from vlp_pipeline.generative import VISION_ROLE, StagedPictures
from vlp_pipeline.pipeline import (
    DetectorPipeline,
    EmbeddingPipeline,
    EntailmentPipeline,
    GroundingPipeline,
    Item,
    MatchPipeline,
    PreparedImage,
    ReasoningPipeline,
    RegionReader,
    VqaPipeline,
)
from vlp_pipeline.regions import Regions, check_regions
from vlp_pipeline.registry import Pipeline
from vlp_spec.tasks import EntailmentQuery, GroundingQuery, ReasoningQuery, Task, VqaQuery

from vlp_export.module_runs import run_module
from vlp_export.plan import Arrays, ExportPlan
from vlp_export.samples import RawSample
from vlp_export.staged_items import StagedSamples

# Numbers of regions of made-up pictures: alone, few, and as many as a model reads, whatever that is.
_REGION_COUNTS = (1, 7, 36, 100, 2, 13)


def sample_items(plan: ExportPlan, pipeline: Pipeline, raw: Sequence[RawSample]) -> Iterator[list[Item]]:
    """The rows of each sample, one for each graph.

    Args:
        plan: of the graphs.
        pipeline: of the deployment that is being made.
        raw: samples; a model that reads regions is given made-up ones in place of their pictures.
    """
    images = _images(pipeline, raw)
    if plan.tasks[0] is Task.REGIONS:
        for image in images:
            yield _detector_items(plan, cast(DetectorPipeline, pipeline), image)
        return
    if plan.graphs[0].role == VISION_ROLE:
        yield from _staged(plan, pipeline, images, raw).rows()
        return
    for number, (image, sample) in enumerate(zip(images, raw, strict=True)):
        yield _items(plan.tasks[0], pipeline, [image, images[number - 1]], sample.text)


def chained_outputs(
    plan: ExportPlan, pipeline: Pipeline, raw: Sequence[RawSample], runners: Mapping[str, Runner]
) -> list[Arrays]:
    """Of each sample the outputs that make its answer, where graphs are given what graphs before them made.

    Args:
        plan: of the graphs.
        pipeline: of the deployment that is being made.
        raw: samples.
        runners: role -> its graph.

    Returns:
        one for each sample, without the batch axis; empty where no graph reads what another one makes.
    """
    if plan.graphs[0].role != VISION_ROLE:
        return []
    return list(_staged(plan, pipeline, _images(pipeline, raw), raw, runners).answering())


def made_up_regions(region_size: int, count: int, seed: int) -> Regions:
    """Random boxes, and features like those of a detector: not negative, most of them small.

    Args:
        region_size: numbers of a region's features.
        count: regions.
        seed: the same seed gives the same regions.
    """
    random = np.random.default_rng(seed)
    corners = np.sort(random.random((2, count, 2)), axis=0)
    boxes = np.concatenate([corners[0] * 0.9, 0.1 + corners[1] * 0.9], axis=1)
    return check_regions(boxes.astype(np.float32), random.exponential(0.5, (count, region_size)).astype(np.float32))


def _staged(
    plan: ExportPlan,
    pipeline: Pipeline,
    images: Sequence[PreparedImage],
    raw: Sequence[RawSample],
    runners: Mapping[str, Runner] | None = None,
) -> StagedSamples:
    return StagedSamples(plan, cast(StagedPictures, pipeline), images, [sample.text for sample in raw], runners)


def _images(pipeline: Pipeline, raw: Sequence[RawSample]) -> list[PreparedImage]:
    if not hasattr(pipeline, "prepare_regions"):
        return [cast(Any, pipeline).prepare_image(sample.image) for sample in raw]
    reader = cast(RegionReader, pipeline)
    settings = reader.regions
    counts = (min(settings.max_regions, _REGION_COUNTS[number % len(_REGION_COUNTS)]) for number in range(len(raw)))
    return [
        reader.prepare_regions(made_up_regions(settings.region_size, count, seed)) for seed, count in enumerate(counts)
    ]


def _items(task: Task, pipeline: Pipeline, images: Sequence[PreparedImage], text: str) -> list[Item]:
    """Rows of a model without a choice between its graphs; the second picture is for those that read two."""
    image = images[0]
    if task is Task.VQA:
        return [cast(VqaPipeline, pipeline).prepare(image, VqaQuery(text))]
    if task is Task.MATCH:
        return [cast(MatchPipeline, pipeline).prepare(image, text)]
    if task is Task.ENTAILMENT:
        return [cast(EntailmentPipeline, pipeline).prepare(image, EntailmentQuery(text))]
    if task is Task.REASONING:
        return [cast(ReasoningPipeline, pipeline).prepare(image, images[1], ReasoningQuery(text))]
    if task is Task.GROUNDING:
        return [cast(GroundingPipeline, pipeline).prepare(image, GroundingQuery(text))]
    embedding = cast(EmbeddingPipeline, pipeline)
    return [embedding.image_item(image), embedding.text_item(text)]


def _detector_items(plan: ExportPlan, pipeline: DetectorPipeline, image: PreparedImage) -> list[Item]:
    """The picture, and the proposals that the checkpoint makes of it."""
    first = pipeline.backbone_item(image)
    graph = next(graph for graph in plan.graphs if graph.role == first.role)
    outputs = run_module(graph, pipeline.collate([first]))
    return [first, pipeline.proposals_item(image, {name: array[0] for name, array in outputs.items()})]
