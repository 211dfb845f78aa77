"""What answers questions: a torch checkpoint, or a published deployment run by onnxruntime as the server runs it.

Both go through the pipeline that serves, so that an offline figure is the served model's figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from vlp_pipeline.pipeline import VqaPipeline
from vlp_pipeline.registry import build_pipeline
from vlp_spec.errors import ArtifactError, TaskNotSupportedError
from vlp_spec.found_deployment import find_deployment
from vlp_spec.tasks import Task

Forward = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Graph inputs, batch first -> outputs by name, among them `logits` (B, labels)."""


@dataclass(frozen=True)
class AnsweringModel:
    """A model that can be asked.

    Attributes:
        name: for reports.
        pipeline: pictures and questions to arrays, and arrays to answers.
        forward: runs a batch.
        grey_side: side in pixels of the grey picture that a question-only model is shown.
    """

    name: str
    pipeline: VqaPipeline
    forward: Forward
    grey_side: int


def open_checkpoint(source: str, device: str = "cpu") -> AnsweringModel:
    """Load a checkpoint directory, hub id or published file with its own weights.

    Raises:
        ArtifactError: it cannot be loaded, or has no VQA head.
    """
    import torch
    from vlp_pipeline.text import TextProcessor
    from vlp_pipeline.vilt_image import ViltImageProcessor, ViltImageSettings
    from vlp_pipeline.vilt_vqa import ViltVqaPipeline
    from vlp_pipeline.vqa import AnswerRanker

    from vlp_models.checkpoints import load_checkpoint

    checkpoint = load_checkpoint(source, task="vqa")
    settings = ViltImageSettings.from_mapping(checkpoint.image)
    pipeline = ViltVqaPipeline(
        ViltImageProcessor(settings),
        TextProcessor.from_file(checkpoint.tokenizer.encode(), checkpoint.config.max_text_len),
        AnswerRanker(checkpoint.labels or ()),
    )
    model = checkpoint.vilt.to(device).eval()

    def forward(feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        tensors = {name: torch.as_tensor(array).to(device) for name, array in feeds.items()}
        with torch.inference_mode():
            return {"logits": model.vqa_logits(**tensors).float().cpu().numpy()}

    return AnsweringModel(source, pipeline, forward, settings.shorter_edge)


def open_deployment(repository: Path, reference: str) -> AnsweringModel:
    """Open a published deployment.

    Args:
        repository: folder with deployments/ and model_repository/.
        reference: "name" (its highest version), "name@version" or "name@alias".

    Raises:
        ArtifactError: there is none, it is damaged, or onnxruntime is not installed.
        TaskNotSupportedError: it does not answer questions.
    """
    found = find_deployment(repository, reference)
    deployment = found.deployment
    name = f"{deployment.name}@{deployment.version}"
    if Task.VQA not in deployment.tasks:
        raise TaskNotSupportedError(f"deployment {name} does not answer questions")
    graph = deployment.graph("fusion")
    forward = _open_graph(found.layout.graph_file(graph, "model.onnx"))
    pipeline = cast(VqaPipeline, build_pipeline(deployment, found.assets_dir))
    return AnsweringModel(name, pipeline, forward, int(deployment.image.get("shorter_edge", 1)))


def _open_graph(path: Path) -> Forward:
    try:
        from vlp_models.evaluation.onnx_runner import onnx_runner
    except ModuleNotFoundError as error:
        raise ArtifactError("onnxruntime is not installed; install vlpserve[cpu] to evaluate a deployment") from error
    return onnx_runner(path)
