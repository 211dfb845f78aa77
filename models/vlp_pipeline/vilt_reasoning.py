"""Is a statement about two pictures true, with ViLT: one graph, role "fusion", reads both pictures and the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import ReasoningQuery, ReasoningResult

from vlp_pipeline.images import DEFAULT_IMAGE_LIMITS, ImageLimits
from vlp_pipeline.label_scores import REASONING_LOGITS, LabelScores, truth_of, truth_scores
from vlp_pipeline.pipeline import (
    PAIR_PREFIXES,
    TEXT_AXIS,
    Buckets,
    Item,
    Padding,
    PreparedImage,
    join_text,
    pad_batch,
    padded_sizes,
)
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, TextLimits, TextProcessor, check_text
from vlp_pipeline.vilt_image import ViltImageProcessor
from vlp_pipeline.vilt_inputs import PATCH_AXIS, prepare_picture, read_processors


@dataclass(frozen=True, slots=True)
class ViltReasoningPipeline:
    """The parts of one deployment; a ReasoningPipeline.

    Attributes:
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
    ) -> ViltReasoningPipeline:
        """Read the deployment's settings and assets.

        Raises:
            ArtifactError: settings or assets are broken, or do not fit the graph.
        """
        images, texts = read_processors(deployment, assets_dir, PAIR_PREFIXES)
        min_sizes = {axis: limit.min for axis, limit in deployment.axes.items()}
        return cls(images, texts, truth_scores(deployment, REASONING_LOGITS), image_limits, text_limits, min_sizes)

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode, resize and cut a picture file; see ReasoningPipeline."""
        return prepare_picture(self.image_processor, data, self.image_limits)

    def prepare(self, left: PreparedImage, right: PreparedImage, query: ReasoningQuery) -> Item:
        """Join two pictures and a statement; see ReasoningPipeline. A statement of too many tokens is cut."""
        check_text(query.statement, "statement", self.text_limits)
        ids = self.text_processor.encode(query.statement)
        if len(ids) == 2:
            raise InvalidArgumentError("statement: holds no readable character; say something", field="statement")
        return join_text(ids, (left, right), PAIR_PREFIXES)

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items into the graph's inputs; see ReasoningPipeline."""
        paddings = {"input_ids": Padding(TEXT_AXIS, self.text_processor.pad_id), "text_mask": Padding(TEXT_AXIS)}
        for side in PAIR_PREFIXES:
            paddings |= {f"{side}patches": Padding(f"{side}{PATCH_AXIS}"), f"{side}grid": Padding()}
        return pad_batch(items, paddings, padded_sizes(items, self.min_sizes, buckets))

    def result(self, query: ReasoningQuery, outputs: Mapping[str, np.ndarray]) -> ReasoningResult:
        """How likely it is true, by the row `reasoning_logits`, (2,) float; see ReasoningPipeline."""
        return ReasoningResult(truth_of(self.scores, outputs))
