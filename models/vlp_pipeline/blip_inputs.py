"""What every BLIP pipeline does alike: pictures and texts become rows of its graphs, and rows batches.

Texts are BERT's, with two tokens of BLIP's own: [DEC] begins what is written, [ENC] stands in place of [CLS] where a
text is read in view of a picture (salesforce/BLIP, models/blip.py, init_tokenizer).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError, InternalError, InvalidArgumentError
from vlp_spec.repository import TOKENIZER_ASSET
from vlp_spec.tensors import TensorSpec

from vlp_pipeline.clip_image import ClipImageProcessor, ClipImageSettings
from vlp_pipeline.deployment_fit import check_axes
from vlp_pipeline.generative import CROSS_ROLE, VISION_ROLE
from vlp_pipeline.images import DEFAULT_IMAGE_LIMITS, ImageLimits, open_picture
from vlp_pipeline.pipeline import TEXT_AXIS, TEXTS_AXIS, Buckets, Item, PreparedImage, padded_sizes
from vlp_pipeline.row_padding import stack_rows
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, BertTextSettings, TextLimits, TextProcessor, check_text

START_TOKEN, FUSE_TOKEN = "[DEC]", "[ENC]"
PIXELS, IMAGE_STATES, SEEN_STATES = "pixels", "image_states", "seen_states"
QUESTION_IDS, QUESTION_MASK = "question_ids", "question_mask"


@dataclass(frozen=True, slots=True)
class BlipInputs:
    """The processors of one deployment, and what its graphs take.

    Attributes:
        start_id: of [DEC].
        fuse_id: of [ENC].
        graph_inputs: role -> the inputs of its graph.
        min_sizes: dynamic axis -> the smallest size that the graphs take; smaller batches are padded to it.
    """

    image_processor: ClipImageProcessor
    text_processor: TextProcessor
    start_id: int
    fuse_id: int
    graph_inputs: Mapping[str, tuple[TensorSpec, ...]]
    image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS
    text_limits: TextLimits = DEFAULT_TEXT_LIMITS
    min_sizes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_deployment(
        cls,
        deployment: Deployment,
        assets_dir: Path,
        image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
    ) -> BlipInputs:
        """Read the deployment's settings and tokenizer.

        Raises:
            ArtifactError: settings or tokenizer are broken, or do not fit the graphs.
        """
        images = ClipImageProcessor(ClipImageSettings.from_mapping(deployment.image))
        text_settings = BertTextSettings.from_mapping(deployment.text)
        texts = TextProcessor.from_file(assets_dir / TOKENIZER_ASSET, text_settings.max_length)
        check_axes(deployment, {TEXT_AXIS: texts.max_length})
        made = cls(
            image_processor=images,
            text_processor=texts,
            start_id=texts.id_of(START_TOKEN),
            fuse_id=texts.id_of(FUSE_TOKEN),
            graph_inputs={graph.role: graph.inputs for graph in deployment.graphs},
            image_limits=image_limits,
            text_limits=text_limits,
            min_sizes={axis: limit.min for axis, limit in deployment.axes.items()},
        )
        made._check_pixels(deployment)
        return made

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode and resize a picture file; see StagedPictures."""
        pixels = self.image_processor.pixels(open_picture(data, self.image_limits))
        return PreparedImage(hashlib.sha256(data).hexdigest(), {PIXELS: pixels}, {})

    def vision_item(self, image: PreparedImage) -> Item:
        """A picture as a row of "vision"; see StagedPictures."""
        return Item(image.arrays, image.sizes, VISION_ROLE)

    def cross_item(self, outputs: Mapping[str, np.ndarray]) -> Item:
        """A picture's states as a row of "cross"; see PictureStates."""
        return Item({SEEN_STATES: outputs[IMAGE_STATES]}, {}, CROSS_ROLE)

    def text_ids(self, text: str, name: str, *, looks: bool) -> np.ndarray:
        """A text that is read, (tokens,) int32, cut to what the model reads.

        Args:
            text: as the caller sent it.
            name: what to call it in messages.
            looks: whether it is read in view of a picture, and so begins with [ENC] in place of [CLS].

        Raises:
            InvalidArgumentError: it is empty, or holds nothing that can be read.
            TooLargeError: it is over its limit.
        """
        if not text.strip():
            raise InvalidArgumentError(f"{name}: empty; say something", field=name)
        check_text(text, name, self.text_limits)
        ids = self.text_processor.encode(text)
        if len(ids) == 2:
            raise InvalidArgumentError(f"{name}: holds no readable character; say something", field=name)
        if looks:
            ids[0] = self.fuse_id
        return ids

    def looking_item(self, role: str, texts: Sequence[np.ndarray], cross: Mapping[str, np.ndarray]) -> Item:
        """Texts about one picture as one row of the graph that reads them in view of it.

        Args:
            role: of that graph, "question" or "fusion".
            texts: at least one, (tokens,) int32 each.
            cross: the row of outputs of "cross".
        """
        longest = max(len(ids) for ids in texts)
        rows = np.full((len(texts), longest), self.text_processor.pad_id, np.int32)
        mask = np.zeros_like(rows)
        for row, marks, ids in zip(rows, mask, texts, strict=True):
            row[: len(ids)], marks[: len(ids)] = ids, 1
        arrays = {QUESTION_IDS: rows, QUESTION_MASK: mask}
        arrays |= {name.replace("cross_", "looked_", 1): array for name, array in cross.items()}
        return Item(arrays, {TEXTS_AXIS: len(texts), TEXT_AXIS: longest}, role)

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items of one role into that graph's inputs, padded axis by axis."""
        roles = {item.role for item in items}
        if len(roles) != 1 or not roles <= set(self.graph_inputs):
            raise InternalError(detail=f"a batch of the roles {sorted(roles)}, expected one of the graphs'")
        (role,) = roles
        pad = self.text_processor.pad_id
        sizes = padded_sizes(items, self.min_sizes, buckets)
        return stack_rows(items, self.graph_inputs[role], sizes, {"input_ids": pad, QUESTION_IDS: pad})

    def _check_pixels(self, deployment: Deployment) -> None:
        """What the picture processor gives must be what the graph takes."""
        settings = self.image_processor.settings
        wanted = ("batch", settings.height, settings.width, 3)
        for spec in deployment.graph(VISION_ROLE).inputs:
            if spec.shape != wanted:
                place = f"deployment {deployment.name}@{deployment.version}"
                raise ArtifactError(f"{place}: {spec.name} is {spec.shape} in the graph, here {wanted}")


@dataclass(frozen=True, slots=True)
class BlipPipeline:
    """What the pipelines of all tasks share; PictureStates."""

    inputs: BlipInputs
    family: ClassVar[str] = "blip"

    @property
    def text_processor(self) -> TextProcessor:
        """What texts become tokens by."""
        return self.inputs.text_processor

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode and resize a picture file; see StagedPictures."""
        return self.inputs.prepare_image(data)

    def vision_item(self, image: PreparedImage) -> Item:
        """A picture as a row of the graph with role "vision"."""
        return self.inputs.vision_item(image)

    def cross_item(self, outputs: Mapping[str, np.ndarray]) -> Item:
        """The row of outputs of "vision" as a row of "cross"."""
        return self.inputs.cross_item(outputs)

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items of one role into that graph's inputs; see StagedPictures."""
        return self.inputs.collate(items, buckets)
