"""Published encoders and matchers, run by onnxruntime as the server runs them, over whole sets of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from vlp_pipeline.pipeline import EmbeddingPipeline, Item, MatchPipeline, PreparedImage
from vlp_pipeline.registry import build_pipeline
from vlp_spec.errors import TaskNotSupportedError
from vlp_spec.found_deployment import FoundDeployment, find_deployment
from vlp_spec.tasks import Task

from vlp_models.data.sources import RawPicture
from vlp_models.evaluation.judging import preparation_of
from vlp_models.evaluation.onnx_runner import Runner, onnx_runner

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
        found = _find(repository, reference, Task.EMBEDDINGS)
        self.name = _label(found)
        self._pipeline = cast(EmbeddingPipeline, build_pipeline(found.deployment, found.assets_dir))
        self._run = _runners(found)
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
            outputs = self._run[batch[0].role](self._pipeline.collate(batch))
            rows = ({name: array[row] for name, array in outputs.items()} for row in range(len(batch)))
            vectors += [self._pipeline.embedding(row) for row in rows]
            watch(len(batch))
        return np.stack(vectors)


class MatcherGraph:
    """A deployment that says how well a text fits a picture; arguments and errors as `EncoderGraphs`.

    Args:
        pictures: all that will be asked about; each is prepared when it is first needed, and kept.
        regions: a store of their regions, in place of the extractor of a deployment that reads regions.
        batch_size: pictures a pass.
    """

    def __init__(
        self,
        repository: Path,
        reference: str,
        pictures: Sequence[RawPicture],
        regions: Path | None = None,
        batch_size: int = 64,
    ) -> None:
        found = _find(repository, reference, Task.MATCH)
        self.name = _label(found)
        self._pipeline = cast(MatchPipeline, build_pipeline(found.deployment, found.assets_dir))
        self._prepare = preparation_of(self._pipeline, repository, regions)
        (self._run,) = _runners(found).values()
        self._pictures = pictures
        self._batch_size = batch_size
        self._prepared: dict[int, PreparedImage] = {}

    def all_scores(self, texts: Sequence[str], watch: Watch) -> np.ndarray:
        """(texts, pictures) float32 of every pair; `watch` is told of each finished text."""
        every = np.arange(len(self._pictures))
        rows = np.zeros((len(texts), len(every)), np.float32)
        for number, text in enumerate(texts):
            parts = range(0, len(every), self._batch_size)
            rows[number] = np.concatenate(
                [self.scores(text, every[start : start + self._batch_size]) for start in parts]
            )
            watch(1)
        return rows

    def scores(self, text: str, pictures: np.ndarray) -> np.ndarray:
        """(pictures,) float, the probability that the text fits each of them."""
        items = [self._pipeline.prepare(self._picture(int(number)), text) for number in pictures]
        outputs = self._run(self._pipeline.collate(items))
        rows = ({name: array[row] for name, array in outputs.items()} for row in range(len(items)))
        return np.array([self._pipeline.score(row) for row in rows])

    def _picture(self, number: int) -> PreparedImage:
        if number not in self._prepared:
            self._prepared[number] = self._prepare(self._pictures[number])
        return self._prepared[number]


def _find(repository: Path, reference: str, task: Task) -> FoundDeployment:
    found = find_deployment(repository, reference)
    if task not in found.deployment.tasks:
        raise TaskNotSupportedError(f"deployment {_label(found)} does not do {task}")
    return found


def _label(found: FoundDeployment) -> str:
    return f"{found.deployment.name}@{found.deployment.version}"


def _runners(found: FoundDeployment) -> Mapping[str, Runner]:
    return {graph.role: onnx_runner(found.layout.graph_file(graph, "model.onnx")) for graph in found.deployment.graphs}


def _batches(items: Iterable[Item], size: int) -> Iterable[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
