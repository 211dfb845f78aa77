"""Pictures with boxes for a region detector: the files as they are, decoded batch by batch.

A split's decoded pictures do not fit into memory, its JPEGs do. Pictures of one size go into a batch, so that no
padding is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from vlp_pipeline.detector_image import DetectorImageProcessor
from vlp_pipeline.images import decode_image
from vlp_spec.errors import ArtifactError, RequestError

from vlp_models.data.faults import FaultCounter
from vlp_models.data.records import Region
from vlp_models.data.sources import PictureSource, RawPicture

NO_ATTRIBUTE = -1


@dataclass(frozen=True)
class DetectorVocabulary:
    """The words that a detector tells apart.

    Attributes:
        classes: kinds of things.
        attributes: how they look.
    """

    classes: tuple[str, ...]
    attributes: tuple[str, ...]

    def class_of(self, region: Region) -> int | None:
        """The number of the one class among a region's words; None where there is none, or several."""
        found = [self.classes.index(word) for word in region.words if word in self.classes]
        return found[0] if len(found) == 1 else None

    def attribute_of(self, region: Region) -> int:
        """The number of the first attribute among a region's words, or `NO_ATTRIBUTE`."""
        found = (self.attributes.index(word) for word in region.words if word in self.attributes)
        return next(found, NO_ATTRIBUTE)


@dataclass(frozen=True, slots=True, eq=False)
class DetectorExample:
    """A picture file and what is in it.

    Attributes:
        image: bytes of the file.
        size_px: width and height of the resized picture.
        boxes: (M, 4) float32, shares of width and height.
        class_ids: (M,) int64.
        attribute_ids: (M,) int64, `NO_ATTRIBUTE` where none is known.
    """

    image: bytes
    size_px: tuple[int, int]
    boxes: np.ndarray
    class_ids: np.ndarray
    attribute_ids: np.ndarray

    @property
    def boxes_px(self) -> np.ndarray:
        """(M, 4) float32, pixels of the resized picture."""
        return np.asarray(self.boxes * np.array(self.size_px * 2, dtype=np.float32))


def load_detector_examples(
    source: PictureSource, split: str, vocabulary: DetectorVocabulary, processor: DetectorImageProcessor, limit: int = 0
) -> list[DetectorExample]:
    """Read a split.

    Regions without a class of the vocabulary are left out.

    Args:
        source: of the split.
        split: named in messages.
        vocabulary: classes and attributes to learn.
        processor: of the detector.
        limit: read at most this many pictures; 0 reads all.

    Raises:
        ArtifactError: nothing could be read, too much is faulty, or no region has a class of the vocabulary.
    """
    faults = FaultCounter(split)
    examples: list[DetectorExample] = []
    for raw in source.read(faults):
        if limit and len(examples) == limit:
            break
        try:
            size = processor.target_size(*_picture_size(raw))
        except RequestError as error:
            faults.note(raw.place, error)
            continue
        known = [
            (region, number) for region in raw.record.regions if (number := vocabulary.class_of(region)) is not None
        ]
        examples.append(
            DetectorExample(
                raw.image,
                size,
                np.array([region.box for region, _ in known], dtype=np.float32).reshape(-1, 4),
                np.array([number for _, number in known], dtype=np.int64),
                np.array([vocabulary.attribute_of(region) for region, _ in known], dtype=np.int64),
            )
        )
    faults.check(len(examples))
    if not any(len(example.boxes) for example in examples):
        raise ArtifactError(f"split {split!r}: no region has a word of the {len(vocabulary.classes)} classes")
    return examples


def _picture_size(raw: RawPicture) -> tuple[int, int]:
    """Width and height: the scene's where the record tells, which saves decoding, and which `decode_batch` checks."""
    if raw.record.scene is not None:
        return raw.record.scene.width, raw.record.scene.height
    pixels = decode_image(raw.image)
    return pixels.shape[1], pixels.shape[0]


class SizeBatches:
    """Batch number -> examples of one size, a pure function of the seed; epoch after epoch without end.

    Args:
        examples: of a split.
        batch_size: pictures a batch; the last of each size may be smaller.
        seed: of the order.
    """

    def __init__(self, examples: Sequence[DetectorExample], batch_size: int, seed: int) -> None:
        self._batch_size = batch_size
        self._seed = seed
        sizes: dict[tuple[int, int], list[int]] = {}
        for index, example in enumerate(examples):
            sizes.setdefault(example.size_px, []).append(index)
        self._groups = [np.array(group) for group in sizes.values()]
        self._epoch, self._batches = -1, self._shuffled(0)

    @property
    def batches_per_epoch(self) -> int:
        """Batches of every epoch."""
        return len(self._batches)

    def batch(self, number: int) -> np.ndarray:
        """(up to batch_size,) int64, indices of examples of one size."""
        epoch, index = divmod(number, self.batches_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._shuffled(epoch)
        return self._batches[index]

    def _shuffled(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng((self._seed, epoch))
        batches: list[np.ndarray] = []
        for group in self._groups:
            order = rng.permutation(group)
            batches += [order[start : start + self._batch_size] for start in range(0, len(order), self._batch_size)]
        return [batches[index] for index in rng.permutation(len(batches))]


def decode_batch(examples: Sequence[DetectorExample], processor: DetectorImageProcessor) -> np.ndarray:
    """Pixels of examples of one size: (B, 3, H, W) in the processor's dtype; blue, green, red.

    Raises:
        ArtifactError: a picture is broken, or of another size than its record says.
    """
    pictures = []
    for example in examples:
        try:
            picture = processor.prepare(decode_image(example.image))
        except RequestError as error:
            raise ArtifactError(f"a training picture cannot be read: {error.message}") from error
        if (picture.width_px, picture.height_px) != example.size_px:
            raise ArtifactError(
                f"a training picture is {picture.width_px}x{picture.height_px} pixels after resizing; its record says "
                f"{example.size_px[0]}x{example.size_px[1]}"
            )
        pictures.append(picture.pixels)
    return np.concatenate(pictures)
