"""Published encoders, run as the server runs them, over whole sets of pictures and texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import numpy as np
from vlp_pipeline.pipeline import EmbeddingPipeline, Item
from vlp_spec.errors import TaskNotSupportedError
from vlp_spec.found_deployment import FoundDeployment, find_deployment
from vlp_spec.tasks import Task

from vlp_models.evaluation.deployment_graphs import DeploymentGraphs

Watch = Callable[[int], None]


class EncoderGraphs:
    """A deployment that makes vectors.

    Args:
        repository: folder with deployments/ and model_repository/.
        reference: "name", "name@version" or "name@alias".
        batch_size: items a pass.

    Raises:
        ArtifactError: there is none, or it is damaged.
        TaskNotSupportedError: it makes no vectors.
    """

    def __init__(self, repository: Path, reference: str, batch_size: int = 64) -> None:
        self._graphs = DeploymentGraphs(find_for(repository, reference, Task.EMBEDDINGS), batch_size)
        self.name = self._graphs.name
        self._pipeline = cast(EmbeddingPipeline, self._graphs.pipeline)
        self._batch_size = batch_size

    def embed_images(self, images: Iterable[bytes], watch: Watch) -> np.ndarray:
        """(pictures, dimension) float32 of length 1; errors as `prepare_image`."""
        pipeline = self._pipeline
        return self._embed((pipeline.image_item(pipeline.prepare_image(image)) for image in images), watch)

    def embed_texts(self, texts: Iterable[str], watch: Watch) -> np.ndarray:
        """(texts, dimension) float32 of length 1; errors as `text_item`."""
        return self._embed((self._pipeline.text_item(text) for text in texts), watch)

    def _embed(self, items: Iterable[Item], watch: Watch) -> np.ndarray:
        vectors: list[np.ndarray] = []
        for batch in _batches(items, self._batch_size):
            vectors += [self._pipeline.embedding(row) for row in self._graphs.run(batch)]
            watch(len(batch))
        return np.stack(vectors)


def find_for(repository: Path, reference: str, task: Task) -> FoundDeployment:
    """A deployment that does a task.

    Raises:
        ArtifactError: there is none of this name.
        TaskNotSupportedError: it does not do that.
    """
    found = find_deployment(repository, reference)
    if task not in found.deployment.tasks:
        label = f"{found.deployment.name}@{found.deployment.version}"
        raise TaskNotSupportedError(f"deployment {label} does not do {task}")
    return found


def _batches(items: Iterable[Item], size: int) -> Iterable[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
