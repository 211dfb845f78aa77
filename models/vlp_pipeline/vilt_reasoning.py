"""Is a statement about two pictures true, with ViLT: one graph, role "fusion", reads both pictures and the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError, InvalidArgumentError
from vlp_spec.repository import TOKENIZER_ASSET
from vlp_spec.tasks import ReasoningQuery, ReasoningResult

from vlp_pipeline.images import DEFAULT_IMAGE_LIMITS, ImageLimits
from vlp_pipeline.label_scores import REASONING_LOGITS, LabelScores, truth_of, truth_scores
from vlp_pipeline.pipeline import PAIR_PREFIXES, Buckets, Item, Padding, PreparedImage, pad_batch, padded_sizes
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, BertTextSettings, TextLimits, TextProcessor, check_text
from vlp_pipeline.vilt_image import ViltImageProcessor, ViltImageSettings
from vlp_pipeline.vilt_inputs import PATCH_AXIS, TEXT_AXIS, prepare_picture


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
        images = ViltImageProcessor(ViltImageSettings.from_mapping(deployment.image))
        text_settings = BertTextSettings.from_mapping(deployment.text)
        texts = TextProcessor.from_file(assets_dir / TOKENIZER_ASSET, text_settings.max_length)
        sizes = {TEXT_AXIS: texts.max_length, **{f"{side}{PATCH_AXIS}": images.max_patches for side in PAIR_PREFIXES}}
        for axis, size in sizes.items():
            limit = deployment.axes.get(axis)
            if limit is not None and limit.max < size:
                raise ArtifactError(
                    f"deployment {deployment.name}@{deployment.version}: axis {axis!r} ends at {limit.max}, "
                    f"its processor gives up to {size}"
                )
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
        arrays, sizes = {"input_ids": ids, "text_mask": np.ones_like(ids)}, {TEXT_AXIS: len(ids)}
        for side, image in zip(PAIR_PREFIXES, (left, right), strict=True):
            arrays |= {f"{side}{name}": array for name, array in image.arrays.items()}
            sizes |= {f"{side}{axis}": size for axis, size in image.sizes.items()}
        return Item(arrays, sizes)

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items into the graph's inputs; see ReasoningPipeline."""
        paddings = {"input_ids": Padding(TEXT_AXIS, self.text_processor.pad_id), "text_mask": Padding(TEXT_AXIS)}
        for side in PAIR_PREFIXES:
            paddings |= {f"{side}patches": Padding(f"{side}{PATCH_AXIS}"), f"{side}grid": Padding()}
        return pad_batch(items, paddings, padded_sizes(items, self.min_sizes, buckets))

    def result(self, query: ReasoningQuery, outputs: Mapping[str, np.ndarray]) -> ReasoningResult:
        """How likely it is true, by the row `reasoning_logits`, (2,) float; see ReasoningPipeline."""
        return ReasoningResult(truth_of(self.scores, outputs))
