"""Embeddings with CLIP and SigLIP: two graphs, roles "image" and "text", that never see each other's input."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError, InferenceError, InternalError, InvalidArgumentError
from vlp_spec.repository import TOKENIZER_ASSET

from vlp_pipeline.clip_image import ClipImageProcessor, ClipImageSettings
from vlp_pipeline.clip_text import ClipTextProcessor, ClipTextSettings
from vlp_pipeline.deployment_fit import check_axes
from vlp_pipeline.images import DEFAULT_IMAGE_LIMITS, ImageLimits, open_picture
from vlp_pipeline.pipeline import TEXT_AXIS, Buckets, Item, Padding, PreparedImage, Scoring, pad_batch, padded_sizes
from vlp_pipeline.settings import read_settings
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, TextLimits, check_text

IMAGE_ROLE, TEXT_ROLE = "image", "text"
OUTPUTS = {IMAGE_ROLE: "image_embeds", TEXT_ROLE: "text_embeds"}
_SCORINGS = ("softmax", "sigmoid")
_SHORTEST = 1e-6


@dataclass(frozen=True, slots=True)
class DualEncoderHead:
    """`Deployment.head` of a dual encoder: how two embeddings become a score.

    Attributes:
        dimension: numbers in an embedding.
        logit_scale: factor of a cosine similarity, above 0.
        logit_bias: added to the scaled similarity.
        scoring: "softmax" over the texts of a list, or "sigmoid" of each by itself.
    """

    dimension: int
    logit_scale: float
    logit_bias: float
    scoring: str

    def __post_init__(self) -> None:
        if self.scoring not in _SCORINGS:
            raise ValueError(f"scoring {self.scoring!r} is none of {', '.join(_SCORINGS)}")
        if self.dimension < 1:
            raise ValueError(f"dimension {self.dimension}, expected 1 or more")
        if not (0 < self.logit_scale < math.inf and math.isfinite(self.logit_bias)):
            raise ValueError(f"logit_scale {self.logit_scale}, logit_bias {self.logit_bias}: expected finite numbers")

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> DualEncoderHead:
        """Read `Deployment.head`.

        Raises:
            ArtifactError: an unknown or missing key, or a value that does not fit.
        """
        # JSON writes 100.0 as it likes.
        numbers = {
            key: float(value) if key.startswith("logit_") and type(value) is int else value
            for key, value in raw.items()
        }
        return read_settings(cls, numbers, "deployment.head")


class ScoringByHead:
    """The part of an EmbeddingPipeline that a `head` of DualEncoderHead answers."""

    __slots__ = ()
    head: DualEncoderHead

    @property
    def dimension(self) -> int:
        """Numbers in an embedding."""
        return self.head.dimension

    @property
    def logit_scale(self) -> float:
        """Factor of a cosine similarity."""
        return self.head.logit_scale

    @property
    def logit_bias(self) -> float:
        """Added to the scaled similarity."""
        return self.head.logit_bias

    @property
    def scoring(self) -> Scoring:
        """How logits over texts become scores."""
        return cast(Scoring, self.head.scoring)


@dataclass(frozen=True, slots=True)
class DualEncoderPipeline(ScoringByHead):
    """The parts of one deployment; an EmbeddingPipeline.

    Attributes:
        min_sizes: dynamic axis -> the smallest size that the graph takes; smaller batches are padded to it.
    """

    image_processor: ClipImageProcessor
    text_processor: ClipTextProcessor
    head: DualEncoderHead
    image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS
    text_limits: TextLimits = DEFAULT_TEXT_LIMITS
    min_sizes: Mapping[str, int] = field(default_factory=dict)
    family: str = "clip"

    @classmethod
    def from_deployment(
        cls,
        deployment: Deployment,
        assets_dir: Path,
        image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
    ) -> DualEncoderPipeline:
        """Read the deployment's settings and assets.

        Raises:
            ArtifactError: settings or assets are broken, or do not fit the graphs.
        """
        images = ClipImageProcessor(ClipImageSettings.from_mapping(deployment.image))
        text_settings = ClipTextSettings.from_mapping(deployment.text)
        texts = ClipTextProcessor.from_file(assets_dir / TOKENIZER_ASSET, text_settings)
        head = DualEncoderHead.from_mapping(deployment.head)
        _check_fit(deployment, images.settings, text_settings, head)
        min_sizes = {axis: limit.min for axis, limit in deployment.axes.items()}
        return cls(images, texts, head, image_limits, text_limits, min_sizes)

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode, resize and crop a picture file; see EmbeddingPipeline."""
        pixels = self.image_processor.pixels(open_picture(data, self.image_limits))
        return PreparedImage(hashlib.sha256(data).hexdigest(), {"pixels": pixels}, {})

    def image_item(self, image: PreparedImage) -> Item:
        """A picture as a row of the graph with role "image"."""
        return Item(image.arrays, image.sizes, IMAGE_ROLE)

    def text_item(self, text: str) -> Item:
        """A text as a row of the graph with role "text"; see EmbeddingPipeline."""
        if not text.strip():
            raise InvalidArgumentError("text: empty; give some words", field="text")
        check_text(text, "text", self.text_limits)
        ids, mask = self.text_processor.encode(text)
        if mask.sum() <= self.text_processor.special_tokens:
            raise InvalidArgumentError("text: holds nothing that the model can read; give some words", field="text")
        sizes = {} if self.text_processor.settings.fixed else {TEXT_AXIS: len(ids)}
        return Item({"input_ids": ids, "text_mask": mask}, sizes, TEXT_ROLE)

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items of one role into that graph's inputs; see EmbeddingPipeline."""
        roles = {item.role for item in items}
        if len(roles) != 1:
            raise InternalError(detail=f"a batch of the roles {sorted(roles)}, expected one")
        if IMAGE_ROLE in roles:
            return pad_batch(items, {"pixels": Padding()}, {})
        settings = self.text_processor.settings
        axis = None if settings.fixed else TEXT_AXIS
        paddings = {"input_ids": Padding(axis, settings.pad_id), "text_mask": Padding(axis)}
        return pad_batch(items, paddings, padded_sizes(items, self.min_sizes, buckets))

    def embedding(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The vector from one row of either graph's outputs; see EmbeddingPipeline."""
        return unit_vector(outputs, self.dimension)


def unit_vector(outputs: Mapping[str, np.ndarray], dimension: int) -> np.ndarray:
    """The embedding among one row of a graph's outputs: (dimension,) float32 of length 1, owned by the caller.

    Raises:
        InferenceError: none or two of them, or one that is not finite, zero, or of another size.
    """
    rows = [outputs[name] for name in OUTPUTS.values() if name in outputs]
    if len(rows) != 1 or rows[0].shape != (dimension,):
        got = {name: array.shape for name, array in outputs.items()}
        raise InferenceError(f"model output: got {got}, expected one embedding of {dimension} numbers")
    vector = rows[0].astype(np.float32)
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not math.isfinite(length) or length < _SHORTEST:
        raise InferenceError("model output: an embedding that is not finite, or zero, for this item alone")
    # The graph did this; below float32 its result is of length 1 to three digits only.
    return np.asarray(vector / np.float32(length), np.float32)


def _check_fit(deployment: Deployment, image: ClipImageSettings, text: ClipTextSettings, head: DualEncoderHead) -> None:
    """What the processors produce must be what the graphs take."""
    place = f"deployment {deployment.name}@{deployment.version}"
    check_axes(deployment, {TEXT_AXIS: text.max_length})
    wanted = {
        "pixels": ("batch", image.height, image.width, 3),
        "input_ids": ("batch", text.max_length if text.fixed else TEXT_AXIS),
        **{name: ("batch", head.dimension) for name in OUTPUTS.values()},
    }
    for role in (IMAGE_ROLE, TEXT_ROLE):
        graph = deployment.graph(role)
        for spec in (*graph.inputs, *graph.outputs):
            if spec.name in wanted and spec.shape != wanted[spec.name]:
                raise ArtifactError(f"{place}: {spec.name} is {spec.shape} in the graph, here {wanted[spec.name]}")
