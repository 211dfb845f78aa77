"""Which pipeline serves a deployment. Families are imported when they are first asked for."""

from __future__ import annotations

import importlib
from pathlib import Path

from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError
from vlp_spec.tasks import Task

from vlp_pipeline.generative import (
    CaptionPipeline,
    StagedMatchPipeline,
    StagedReasoningPipeline,
    WrittenAnswerPipeline,
)
from vlp_pipeline.images import DEFAULT_IMAGE_LIMITS, ImageLimits
from vlp_pipeline.pipeline import (
    DetectorPipeline,
    EmbeddingPipeline,
    EntailmentPipeline,
    GroundingPipeline,
    MatchPipeline,
    ReasoningPipeline,
    VqaPipeline,
)
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, TextLimits

Pipeline = (
    VqaPipeline
    | EmbeddingPipeline
    | MatchPipeline
    | EntailmentPipeline
    | ReasoningPipeline
    | GroundingPipeline
    | DetectorPipeline
    | CaptionPipeline
    | WrittenAnswerPipeline
    | StagedMatchPipeline
    | StagedReasoningPipeline
)

PIPELINES: dict[tuple[str, Task], tuple[str, str]] = {
    ("vilt", Task.VQA): ("vlp_pipeline.vilt_vqa", "ViltVqaPipeline"),
    ("vilt", Task.MATCH): ("vlp_pipeline.vilt_match", "ViltMatchPipeline"),
    ("vilt", Task.REASONING): ("vlp_pipeline.vilt_reasoning", "ViltReasoningPipeline"),
    ("uniter", Task.VQA): ("vlp_pipeline.uniter_tasks", "UniterVqaPipeline"),
    ("uniter", Task.MATCH): ("vlp_pipeline.uniter_tasks", "UniterMatchPipeline"),
    ("uniter", Task.ENTAILMENT): ("vlp_pipeline.uniter_tasks", "UniterEntailmentPipeline"),
    ("uniter", Task.REASONING): ("vlp_pipeline.uniter_tasks", "UniterReasoningPipeline"),
    ("uniter", Task.GROUNDING): ("vlp_pipeline.uniter_tasks", "UniterGroundingPipeline"),
    ("faster_rcnn", Task.REGIONS): ("vlp_pipeline.detector_pipeline", "FasterRcnnPipeline"),
    ("clip", Task.EMBEDDINGS): ("vlp_pipeline.dual_encoder", "DualEncoderPipeline"),
    ("clip", Task.CLASSIFY): ("vlp_pipeline.dual_encoder", "DualEncoderPipeline"),
    ("blip", Task.CAPTION): ("vlp_pipeline.blip_caption", "BlipCaptionPipeline"),
    ("blip", Task.VQA): ("vlp_pipeline.blip_vqa", "BlipVqaPipeline"),
    ("blip", Task.MATCH): ("vlp_pipeline.blip_match", "BlipMatchPipeline"),
    ("blip", Task.REASONING): ("vlp_pipeline.blip_reasoning", "BlipReasoningPipeline"),
}


def build_pipeline(
    deployment: Deployment,
    assets_dir: Path,
    limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
    text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
) -> Pipeline:
    """Build the pipeline of a deployment's first task; its others are served by the same one.

    Args:
        deployment: its family, tasks and processor settings are read.
        assets_dir: folder with tokenizer.json and labels.json.
        limits: what a picture may cost.
        text_limits: what a text may cost.

    Raises:
        ArtifactError: no pipeline for this family and task, or settings or assets that are broken.
    """
    place = f"deployment {deployment.name}@{deployment.version}"
    if not deployment.tasks:
        raise ArtifactError(f"{place}: names no task")
    key = deployment.family, deployment.tasks[0]
    if key not in PIPELINES:
        known = ", ".join(f"{family} {task}" for family, task in PIPELINES)
        raise ArtifactError(f"{place}: no pipeline for family {key[0]!r}, task {key[1]}; there are: {known}")
    module, name = PIPELINES[key]
    pipeline: Pipeline = getattr(importlib.import_module(module), name).from_deployment(
        deployment, assets_dir, limits, text_limits
    )
    return pipeline
