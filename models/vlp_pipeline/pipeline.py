"""What every pipeline speaks: prepared pictures, items, and batches padded axis by axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from vlp_spec.errors import InternalError
from vlp_spec.tasks import (
    EntailmentQuery,
    EntailmentResult,
    GroundingQuery,
    GroundingResult,
    ReasoningQuery,
    ReasoningResult,
    VqaQuery,
    VqaResult,
)

from vlp_pipeline.region_settings import RegionSettings
from vlp_pipeline.regions import Regions

Buckets = Mapping[str, Sequence[int]]
PAIR_PREFIXES = ("left_", "right_")
"""Before the names of inputs and axes of a graph that reads two pictures."""
TEXT_AXIS, TEXTS_AXIS = "text", "texts"
"""Tokens of a text, and texts of one row."""
Scoring = Literal["softmax", "sigmoid"]
"""How similarities become scores: shares of a list of texts, or each text's probability by itself."""


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """A picture after its processor; many questions can be asked of it. Equal and hashed by `digest` alone.

    Attributes:
        digest: sha256 of the file's bytes, in hex, or of the regions that were sent in its place: the key of caches,
            together with the model.
        arrays: graph inputs without the batch axis; not to be changed.
        sizes: dynamic axis -> its size in `arrays`.
    """

    digest: str
    arrays: Mapping[str, np.ndarray] = field(compare=False, repr=False)
    sizes: Mapping[str, int] = field(compare=False)

    @property
    def size_bytes(self) -> int:
        """Memory that the arrays take."""
        return sum(array.nbytes for array in self.arrays.values())


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One row of a batch.

    Attributes:
        arrays: graph inputs without the batch axis; not to be changed.
        sizes: dynamic axis -> its size in `arrays`, such as {"text": 9, "patches": 144}.
        role: the graph that computes it, as in `GraphRef.role`; a batch holds items of one role.
    """

    arrays: Mapping[str, np.ndarray]
    sizes: Mapping[str, int]
    role: str = "fusion"


@dataclass(frozen=True, slots=True)
class Padding:
    """How an input grows in a batch.

    Attributes:
        axis: the dynamic axis that is its first axis without the batch; None for an input of one size.
        fill: the value of what is added.
    """

    axis: str | None = None
    fill: int = 0


class VqaPipeline(Protocol):
    """A family's way from a picture and a question to arrays, and from arrays to answers. Any thread may use it."""

    @property
    def family(self) -> str:
        """The family's name, as in Deployment.family."""
        ...

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode and process a picture file; the costly part, to be done once per picture.

        Raises:
            InvalidImageError: the bytes are no readable picture.
            TooLargeError: over a limit.
        """
        ...

    def prepare(self, image: PreparedImage, query: VqaQuery) -> Item:
        """Join a picture and a question.

        Raises:
            InvalidArgumentError: the question or the closed list cannot be used with this model.
            TooLargeError: the question is over its limit.
        """
        ...

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Pad to the largest of each axis, or up to the next of the given sizes, and stack."""
        ...

    def result(self, query: VqaQuery, outputs: Mapping[str, np.ndarray]) -> VqaResult:
        """The answer from one row of the graph's outputs.

        Raises:
            InferenceError: outputs that are not finite.
        """
        ...


class EmbeddingPipeline(Protocol):
    """A dual encoder's way from a picture or a text to arrays, and from arrays to a vector. Any thread may use it.

    A text fits a picture by `logit_scale * (image_embeds @ text_embeds) + logit_bias`.
    """

    @property
    def family(self) -> str:
        """The family's name, as in Deployment.family."""
        ...

    @property
    def dimension(self) -> int:
        """Numbers in an embedding."""
        ...

    @property
    def logit_scale(self) -> float:
        """Factor of a cosine similarity; the exponential of the checkpoint's parameter."""
        ...

    @property
    def logit_bias(self) -> float:
        """Added to the scaled similarity; 0 where the model has none."""
        ...

    @property
    def scoring(self) -> Scoring:
        """How logits over texts become scores."""
        ...

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode and process a picture file.

        Raises:
            InvalidImageError: the bytes are no readable picture.
            TooLargeError: over a limit.
        """
        ...

    def image_item(self, image: PreparedImage) -> Item:
        """A picture as a row of the graph with role "image"."""
        ...

    def text_item(self, text: str) -> Item:
        """A text as a row of the graph with role "text"; one of more tokens than the model reads is cut.

        Raises:
            InvalidArgumentError: it is empty, or cannot be read.
            TooLargeError: over its limit.
        """
        ...

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items of one role into that graph's inputs, padded as VqaPipeline does."""
        ...

    def embedding(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The vector from one row of either graph's outputs: (dimension,) float32 of length 1, owned by the caller.

        Raises:
            InferenceError: outputs that are not finite, or of another shape.
        """
        ...


class MatchPipeline(Protocol):
    """A cross-encoder's way from a picture and a text to the probability that they belong together."""

    @property
    def family(self) -> str:
        """The family's name, as in Deployment.family."""
        ...

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode and process a picture file; see VqaPipeline."""
        ...

    def prepare(self, image: PreparedImage, text: str) -> Item:
        """Join a picture and a text.

        Raises:
            InvalidArgumentError: the text is empty, or cannot be read.
            TooLargeError: the text is over its limit.
        """
        ...

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Pad and stack; see VqaPipeline."""
        ...

    def score(self, outputs: Mapping[str, np.ndarray]) -> float:
        """The probability that the text fits the picture, 0 to 1, from one row of the graph's outputs.

        Raises:
            InferenceError: outputs that are not finite, or of another shape.
        """
        ...


class EntailmentPipeline(Protocol):
    """A family's way from a picture and a hypothesis to what the one says of the other."""

    @property
    def family(self) -> str:
        """The family's name, as in Deployment.family."""
        ...

    def prepare(self, image: PreparedImage, query: EntailmentQuery) -> Item:
        """Join a picture and a hypothesis; errors as of VqaPipeline."""
        ...

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Pad and stack; see VqaPipeline."""
        ...

    def result(self, query: EntailmentQuery, outputs: Mapping[str, np.ndarray]) -> EntailmentResult:
        """The model's labels from one row of the graph's outputs; errors as of VqaPipeline."""
        ...


class ReasoningPipeline(Protocol):
    """A family's way from two pictures and a statement to the probability that it is true."""

    @property
    def family(self) -> str:
        """The family's name, as in Deployment.family."""
        ...

    def prepare(self, left: PreparedImage, right: PreparedImage, query: ReasoningQuery) -> Item:
        """Join two pictures and a statement; errors as of VqaPipeline."""
        ...

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Pad and stack; see VqaPipeline."""
        ...

    def result(self, query: ReasoningQuery, outputs: Mapping[str, np.ndarray]) -> ReasoningResult:
        """How likely it is true, from one row of the graph's outputs; errors as of VqaPipeline."""
        ...


class GroundingPipeline(Protocol):
    """A family's way from a picture and a phrase to the part of the picture that the phrase names."""

    @property
    def family(self) -> str:
        """The family's name, as in Deployment.family."""
        ...

    def prepare(self, image: PreparedImage, query: GroundingQuery) -> Item:
        """Join a picture and a phrase; errors as of VqaPipeline."""
        ...

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Pad and stack; see VqaPipeline."""
        ...

    def result(self, query: GroundingQuery, outputs: Mapping[str, np.ndarray]) -> GroundingResult:
        """The best boxes from one row of the graph's outputs; errors as of VqaPipeline."""
        ...


class RegionReader(Protocol):
    """The part of a pipeline that takes region features in place of pixels."""

    @property
    def regions(self) -> RegionSettings:
        """Which features the model reads, and who makes them."""
        ...

    def prepare_regions(self, regions: Regions) -> PreparedImage:
        """Regions as the graph takes them.

        Raises:
            InvalidArgumentError: features of another width.
            TooLargeError: more regions than the model reads.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FoundRegions:
    """Regions of a picture, and what a detector takes them for.

    Attributes:
        regions: the most confident first.
        names: of each region's likeliest class.
        attributes: of each region's likeliest attribute; empty texts where the detector knows none.
    """

    regions: Regions
    names: tuple[str, ...]
    attributes: tuple[str, ...]


class DetectorPipeline(Protocol):
    """A region detector's way from a picture to regions with features, over two graphs."""

    @property
    def family(self) -> str:
        """The family's name, as in Deployment.family."""
        ...

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode and resize a picture file; see VqaPipeline."""
        ...

    def backbone_item(self, image: PreparedImage) -> Item:
        """A picture as a row of the first graph."""
        ...

    def proposals_item(self, image: PreparedImage, outputs: Mapping[str, np.ndarray]) -> Item:
        """Places worth a closer look, from the first graph's outputs for one picture, as a row of the second graph.

        Raises:
            InferenceError: outputs that are not finite.
        """
        ...

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items of one role; pictures of one size only."""
        ...

    def found(self, image: PreparedImage, proposals: Item, outputs: Mapping[str, np.ndarray]) -> FoundRegions:
        """The regions, from the second graph's outputs for one picture.

        Raises:
            InferenceError: outputs that are not finite.
        """
        ...


def join_text(ids: np.ndarray, images: Sequence[PreparedImage], prefixes: Sequence[str] = ("",)) -> Item:
    """A text, (tokens,) int32 with [CLS] and [SEP], and its pictures as one row; a prefix for each picture's names."""
    arrays, sizes = {"input_ids": ids, "text_mask": np.ones_like(ids)}, {TEXT_AXIS: len(ids)}
    for prefix, image in zip(prefixes, images, strict=True):
        arrays |= {f"{prefix}{name}": array for name, array in image.arrays.items()}
        sizes |= {f"{prefix}{axis}": size for axis, size in image.sizes.items()}
    return Item(arrays, sizes)


def padded_sizes(items: Sequence[Item], minimums: Mapping[str, int], buckets: Buckets | None = None) -> dict[str, int]:
    """The size of each dynamic axis in a batch.

    Args:
        items: at least one.
        minimums: axis -> the smallest size that the graph takes.
        buckets: axis -> the sizes allowed, in rising order; an axis that is not named takes any size.

    Raises:
        InternalError: an item is larger than the last bucket of an axis: the deployment's buckets are wrong.
    """
    sizes: dict[str, int] = {}
    for axis in items[0].sizes:
        needed = max(minimums.get(axis, 1), *(item.sizes[axis] for item in items))
        allowed = (buckets or {}).get(axis)
        if allowed is not None:
            fitting = [size for size in allowed if size >= needed]
            if not fitting:
                raise InternalError(detail=f"axis {axis!r} needs {needed}, its buckets are {tuple(allowed)}")
            needed = min(fitting)
        sizes[axis] = needed
    return sizes


def pad_batch(
    items: Sequence[Item], paddings: Mapping[str, Padding], sizes: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Stack the arrays of items, each padded at the end of its first axis.

    Args:
        items: at least one; all with the same inputs.
        paddings: input -> how it grows.
        sizes: axis -> size, as `padded_sizes` gives them.

    Returns:
        input -> (items, ...), C-contiguous.
    """
    batch: dict[str, np.ndarray] = {}
    for name, padding in paddings.items():
        rows = [item.arrays[name] for item in items]
        if padding.axis is None:
            batch[name] = np.stack(rows)
            continue
        shape = (len(rows), sizes[padding.axis], *rows[0].shape[1:])
        stacked = np.full(shape, padding.fill, dtype=rows[0].dtype) if padding.fill else np.zeros(shape, rows[0].dtype)
        for target, row in zip(stacked, rows, strict=True):
            target[: len(row)] = row
        batch[name] = stacked
    return batch
