from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vlp_models.data.detector_pictures import (
    NO_ATTRIBUTE,
    DetectorExample,
    DetectorVocabulary,
    SizeBatches,
    decode_batch,
    load_detector_examples,
)
from vlp_models.data.faults import FaultCounter
from vlp_models.data.records import PictureRecord, Region
from vlp_models.data.sources import RawPicture
from vlp_models.scenes.world import Scene
from vlp_pipeline.detector_image import DetectorImageProcessor
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_spec.errors import ArtifactError

VOCABULARY = DetectorVocabulary(("cat", "dog"), ("red", "blue"))
SETTINGS = DetectorSettings(((-8.0, -8.0, 8.0, 8.0),), shorter_edge=16, longer_edge=32, pixel_dtype="uint8")
PROCESSOR = DetectorImageProcessor(SETTINGS)


@dataclass
class _Source:
    raws: list[RawPicture]

    def read(self, faults: FaultCounter) -> Iterator[RawPicture]:
        return iter(self.raws)

    def read_records(self, faults: FaultCounter) -> Iterator[PictureRecord]:
        return (raw.record for raw in self.raws)

    def files(self) -> list[Path]:
        return []


def _picture(width: int, height: int, colour: tuple[int, int, int] = (10, 20, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def _raw(image: bytes, *regions: Region, scene: Scene | None = None) -> RawPicture:
    return RawPicture("place", PictureRecord("id", "", (), (), regions, scene), image)


def test_a_regions_words_name_its_class_and_attribute() -> None:
    box = (0.0, 0.0, 0.5, 0.5)
    assert VOCABULARY.class_of(Region(box, ("small", "red", "dog"))) == 1
    assert VOCABULARY.attribute_of(Region(box, ("small", "blue", "dog"))) == 1
    assert VOCABULARY.attribute_of(Region(box, ("dog",))) == NO_ATTRIBUTE
    assert VOCABULARY.class_of(Region(box, ("cat", "dog"))) is None
    assert VOCABULARY.class_of(Region(box, ("red",))) is None


def test_boxes_become_pixels_of_the_resized_picture() -> None:
    raws = [
        _raw(
            _picture(64, 32),
            Region((0.25, 0.5, 1.0, 1.0), ("blue", "cat")),
            Region((0.0, 0.0, 0.1, 0.1), ("house",)),
        )
    ]
    (example,) = load_detector_examples(_Source(raws), "train", VOCABULARY, PROCESSOR)
    assert example.size_px == (32, 16)
    assert example.boxes_px.tolist() == [[8, 8, 32, 16]]
    assert (example.class_ids.tolist(), example.attribute_ids.tolist()) == ([0], [1])


def test_broken_pictures_and_splits_without_a_known_word_are_told() -> None:
    good = _raw(_picture(16, 16), Region((0.0, 0.0, 1.0, 1.0), ("cat",)))
    with pytest.raises(ArtifactError, match="1 of 2 records skipped"):
        load_detector_examples(_Source([good, _raw(b"no picture")]), "train", VOCABULARY, PROCESSOR)
    with pytest.raises(ArtifactError, match="no region has a word of the 2 classes"):
        load_detector_examples(_Source([_raw(_picture(16, 16))]), "train", VOCABULARY, PROCESSOR)
    assert len(load_detector_examples(_Source([good] * 5), "train", VOCABULARY, PROCESSOR, limit=3)) == 3


def test_a_batch_is_of_one_size_and_an_epoch_has_every_picture_once() -> None:
    nothing = np.zeros(0, np.int64)
    examples = [
        DetectorExample(b"", ((16, 16), (32, 16))[index % 3 == 0], np.zeros((0, 4), np.float32), nothing, nothing)
        for index in range(20)
    ]
    batches = SizeBatches(examples, 4, seed=1)
    assert batches.batches_per_epoch == 2 + 4
    first = [batches.batch(number).tolist() for number in range(6)]
    assert sorted(index for batch in first for index in batch) == list(range(20))
    assert all(len({examples[index].size_px for index in batch}) == 1 for batch in first)
    second = [batches.batch(number).tolist() for number in range(6, 12)]
    assert second != first
    assert sorted(index for batch in second for index in batch) == list(range(20))
    assert SizeBatches(examples, 4, seed=1).batch(3).tolist() == first[3]


def test_pixels_of_a_batch_are_blue_green_red_and_sizes_are_checked() -> None:
    region = Region((0.0, 0.0, 1.0, 1.0), ("cat",))
    raws = [_raw(_picture(16, 16), region), _raw(_picture(16, 16, (1, 2, 3)), region)]
    examples = load_detector_examples(_Source(raws), "train", VOCABULARY, PROCESSOR)
    pixels = decode_batch(examples, PROCESSOR)
    assert pixels.shape == (2, 3, 16, 16)
    assert pixels[:, :, 0, 0].tolist() == [[30, 20, 10], [3, 2, 1]]
    lying = [_raw(_picture(16, 16), region, scene=Scene(32, 16, ()))]
    with pytest.raises(ArtifactError, match="16x16 pixels after resizing; its record says 32x16"):
        decode_batch(load_detector_examples(_Source(lying), "train", VOCABULARY, PROCESSOR), PROCESSOR)
