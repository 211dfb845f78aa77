"""Visual question answering with ViLT: one graph, role "fusion", that reads patches and text together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError, InferenceError, InvalidArgumentError
from vlp_spec.repository import LABELS_ASSET, TOKENIZER_ASSET
from vlp_spec.tasks import VqaQuery, VqaResult

from vlp_pipeline.images import DEFAULT_IMAGE_LIMITS, ImageLimits, open_picture
from vlp_pipeline.pipeline import Buckets, Item, Padding, PreparedImage, pad_batch, padded_sizes
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, BertTextSettings, TextLimits, TextProcessor, check_text
from vlp_pipeline.vilt_image import ViltImageProcessor, ViltImageSettings
from vlp_pipeline.vqa import AnswerRanker, read_labels

TEXT_AXIS, PATCH_AXIS = "text", "patches"


@dataclass(frozen=True, slots=True)
class ViltVqaPipeline:
    """The parts of one deployment.

    Attributes:
        min_sizes: dynamic axis -> the smallest size that the graph takes; smaller batches are padded to it.
    """

    image_processor: ViltImageProcessor
    text_processor: TextProcessor
    ranker: AnswerRanker
    image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS
    text_limits: TextLimits = DEFAULT_TEXT_LIMITS
    min_sizes: Mapping[str, int] = field(default_factory=dict)
    family: str = "vilt"

    @classmethod
    def from_deployment(
        cls,
        deployment: Deployment,
        assets_dir: Path,
        image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
    ) -> ViltVqaPipeline:
        """Read the deployment's settings and assets.

        Raises:
            ArtifactError: settings or assets are broken, or do not fit the graph.
        """
        images = ViltImageProcessor(ViltImageSettings.from_mapping(deployment.image))
        text_settings = BertTextSettings.from_mapping(deployment.text)
        texts = TextProcessor.from_file(assets_dir / TOKENIZER_ASSET, text_settings.max_length)
        ranker = AnswerRanker(read_labels(assets_dir / LABELS_ASSET))
        _check_fit(deployment, {TEXT_AXIS: texts.max_length, PATCH_AXIS: images.max_patches}, len(ranker.labels))
        min_sizes = {axis: limit.min for axis, limit in deployment.axes.items()}
        return cls(images, texts, ranker, image_limits, text_limits, min_sizes)

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode, resize and cut a picture file; see VqaPipeline."""
        cut = self.image_processor.picture_patches(open_picture(data, self.image_limits))
        return PreparedImage(
            digest=hashlib.sha256(data).hexdigest(),
            arrays={"patches": cut.patches, "grid": cut.grid},
            sizes={PATCH_AXIS: len(cut.patches)},
        )

    def prepare(self, image: PreparedImage, query: VqaQuery) -> Item:
        """Join a picture and a question; see VqaPipeline. A question of more than `max_length` tokens is cut."""
        check_text(query.question, "question", self.text_limits)
        if query.candidates is not None:
            self.ranker.find_candidates(query.candidates)
        ids = self.text_processor.encode(query.question)
        if len(ids) == 2:
            raise InvalidArgumentError("question: holds no readable character; ask something", field="question")
        text = {"input_ids": ids, "text_mask": np.ones_like(ids)}
        return Item({**image.arrays, **text}, {**image.sizes, TEXT_AXIS: len(ids)})

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items into the graph's inputs; see VqaPipeline."""
        paddings = {
            "patches": Padding(PATCH_AXIS),
            "grid": Padding(),
            "input_ids": Padding(TEXT_AXIS, self.text_processor.pad_id),
            "text_mask": Padding(TEXT_AXIS),
        }
        return pad_batch(items, paddings, padded_sizes(items, self.min_sizes, buckets))

    def result(self, query: VqaQuery, outputs: Mapping[str, np.ndarray]) -> VqaResult:
        """Rank the answers by the row `logits`, (labels,) float; see VqaPipeline."""
        if "logits" not in outputs:
            raise InferenceError(f"model output: no 'logits' among {sorted(outputs)}")
        return self.ranker.rank(outputs["logits"], query)


def _check_fit(deployment: Deployment, largest: Mapping[str, int], labels: int) -> None:
    """What the processors can produce must be what the graph takes."""
    place = f"deployment {deployment.name}@{deployment.version}"
    for axis, size in largest.items():
        limit = deployment.axes.get(axis)
        if limit is not None and limit.max < size:
            raise ArtifactError(f"{place}: axis {axis!r} ends at {limit.max}, its processor gives up to {size}")
    for graph in deployment.graphs:
        for output in graph.outputs:
            if output.name == "logits" and isinstance(output.shape[-1], int) and output.shape[-1] != labels:
                raise ArtifactError(f"{place}: {LABELS_ASSET} has {labels} answers, the graph {output.shape[-1]}")
