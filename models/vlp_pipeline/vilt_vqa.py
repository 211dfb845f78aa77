"""Visual question answering with ViLT: one graph, role "fusion", that reads patches and text together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.errors import InferenceError, InvalidArgumentError
from vlp_spec.repository import LABELS_ASSET
from vlp_spec.tasks import VqaQuery, VqaResult

from vlp_pipeline.deployment_fit import check_width
from vlp_pipeline.images import DEFAULT_IMAGE_LIMITS, ImageLimits
from vlp_pipeline.pipeline import Buckets, Item, PreparedImage
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, TextLimits, TextProcessor, check_text
from vlp_pipeline.vilt_image import ViltImageProcessor
from vlp_pipeline.vilt_inputs import join_pair, pad_pairs, prepare_picture, read_processors
from vlp_pipeline.vqa import AnswerRanker, read_labels


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
        images, texts = read_processors(deployment, assets_dir)
        ranker = AnswerRanker(read_labels(assets_dir / LABELS_ASSET))
        check_width(deployment, "logits", len(ranker.labels), f"{LABELS_ASSET} has {len(ranker.labels)} answers")
        min_sizes = {axis: limit.min for axis, limit in deployment.axes.items()}
        return cls(images, texts, ranker, image_limits, text_limits, min_sizes)

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode, resize and cut a picture file; see VqaPipeline."""
        return prepare_picture(self.image_processor, data, self.image_limits)

    def prepare(self, image: PreparedImage, query: VqaQuery) -> Item:
        """Join a picture and a question; see VqaPipeline. A question of more than `max_length` tokens is cut."""
        check_text(query.question, "question", self.text_limits)
        if query.candidates is not None:
            self.ranker.find_candidates(query.candidates)
        ids = self.text_processor.encode(query.question)
        if len(ids) == 2:
            raise InvalidArgumentError("question: holds no readable character; ask something", field="question")
        return join_pair(image, ids)

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items into the graph's inputs; see VqaPipeline."""
        return pad_pairs(items, self.text_processor.pad_id, self.min_sizes, buckets)

    def result(self, query: VqaQuery, outputs: Mapping[str, np.ndarray]) -> VqaResult:
        """Rank the answers by the row `logits`, (labels,) float; see VqaPipeline."""
        if "logits" not in outputs:
            raise InferenceError(f"model output: no 'logits' among {sorted(outputs)}")
        return self.ranker.rank(outputs["logits"], query)
