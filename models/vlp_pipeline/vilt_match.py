"""Does a text fit a picture, with ViLT: one graph, role "fusion", whose output `itm_logits` holds false and true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.errors import InvalidArgumentError

from vlp_pipeline.images import DEFAULT_IMAGE_LIMITS, ImageLimits
from vlp_pipeline.label_scores import ITM_LOGITS, LabelScores, truth_of, truth_scores
from vlp_pipeline.pipeline import Buckets, Item, PreparedImage
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, TextLimits, TextProcessor, check_text
from vlp_pipeline.vilt_image import ViltImageProcessor
from vlp_pipeline.vilt_inputs import join_pair, pad_pairs, prepare_picture, read_processors


@dataclass(frozen=True, slots=True)
class ViltMatchPipeline:
    """The parts of one deployment; a MatchPipeline.

    Attributes:
        scores: what the two outputs mean.
        min_sizes: dynamic axis -> the smallest size that the graph takes; smaller batches are padded to it.
    """

    image_processor: ViltImageProcessor
    text_processor: TextProcessor
    scores: LabelScores
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
    ) -> ViltMatchPipeline:
        """Read the deployment's settings and assets.

        Raises:
            ArtifactError: settings or assets are broken, or do not fit the graph.
        """
        images, texts = read_processors(deployment, assets_dir)
        min_sizes = {axis: limit.min for axis, limit in deployment.axes.items()}
        return cls(images, texts, truth_scores(deployment, ITM_LOGITS), image_limits, text_limits, min_sizes)

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode, resize and cut a picture file; see MatchPipeline."""
        return prepare_picture(self.image_processor, data, self.image_limits)

    def prepare(self, image: PreparedImage, text: str) -> Item:
        """Join a picture and a text; see MatchPipeline. A text of more than `max_length` tokens is cut."""
        if not text.strip():
            raise InvalidArgumentError("text: empty; say something about the picture", field="text")
        check_text(text, "text", self.text_limits)
        ids = self.text_processor.encode(text)
        if len(ids) == 2:
            raise InvalidArgumentError("text: holds no readable character; say something", field="text")
        return join_pair(image, ids)

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items into the graph's inputs; see MatchPipeline."""
        return pad_pairs(items, self.text_processor.pad_id, self.min_sizes, buckets)

    def score(self, outputs: Mapping[str, np.ndarray]) -> float:
        """The probability that text and picture belong together, from the row `itm_logits`, (2,); see MatchPipeline."""
        return truth_of(self.scores, outputs)
