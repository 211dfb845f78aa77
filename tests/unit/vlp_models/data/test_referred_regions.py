from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_gallery import gallery_record, gallery_regions, things_of, write_gallery
from vlp_models.data.records import Phrase, PictureRecord, parse_record
from vlp_models.data.referred_regions import ReferredRegions, ReferringStream
from vlp_models.data.region_features import RegionFeatures, blind_regions, load_region_features
from vlp_models.data.streams import BatchShape
from vlp_models.data.tokens import TokenStore
from vlp_spec.errors import ArtifactError

PICTURES = 12
BOXES = np.array([[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.5, 0.6], [0.5, 0.0, 1.0, 1.0]])


def features_of(*pictures: np.ndarray) -> RegionFeatures:
    """Regions of no features to speak of, in these boxes."""
    ends = np.cumsum([len(boxes) for boxes in pictures])
    spans = np.stack([ends - [len(boxes) for boxes in pictures], ends], axis=1)
    boxes = np.concatenate(pictures).astype(np.float32)
    return RegionFeatures(spans, np.zeros((len(boxes), 2), np.float16), np.pad(boxes, ((0, 0), (0, 3))))


def record(*boxes: tuple[float, float, float, float]) -> PictureRecord:
    phrases = tuple(Phrase(f"part {number}", box) for number, box in enumerate(boxes))
    return PictureRecord("a", "", (), (), phrases=phrases)


@pytest.fixture
def gallery(tmp_path: Path) -> tuple[tuple[PictureRecord, ...], RegionFeatures]:
    write_gallery(tmp_path, {"train": PICTURES})
    records = [parse_record(gallery_record("train", index)) for index in range(PICTURES)]
    return load_region_features(tmp_path / "regions" / "train", records, "train")


def stream(gallery: tuple[tuple[PictureRecord, ...], RegionFeatures], shape: BatchShape) -> ReferringStream:
    records, features = gallery
    referred = ReferredRegions.of(records, features, "train")

    def encode(text: str) -> np.ndarray:
        number = int(text)
        return np.array([2, *range(10, 11 + number % 5), 20 + number, 3])

    tokens = TokenStore.encode([str(index) for index in range(len(referred.phrases))], encode, 0)
    return ReferringStream(features, tokens, referred, shape)


def test_a_phrase_names_the_region_that_lies_over_its_part_best() -> None:
    # Overlaps with the first part: 0.6, 1, 0. With the second: all 0. With the third: 0.5 / 1, 0.3 / 1, 0.5 / 1.
    first = record((0.0, 0.0, 0.5, 0.6), (0.5, 0.99, 0.51, 1.0), (0.0, 0.0, 1.0, 1.0))
    features = features_of(BOXES[:2], BOXES)
    referred = ReferredRegions.of([record(), first], features, "train")
    assert [phrase.text for phrase in referred.phrases] == ["part 0", "part 1", "part 2"]
    assert referred.picture_of.tolist() == [1, 1, 1]
    assert referred.regions.tolist() == [1, -1, 0]


def test_an_overlap_of_half_is_enough_and_one_below_is_none() -> None:
    features = features_of(np.array([[0.0, 0.0, 0.5, 0.5]]))
    found = ReferredRegions.of([record((0.0, 0.0, 1.0, 0.5), (0.0, 0.0, 1.0, 0.51))], features, "train")
    assert found.regions.tolist() == [0, -1]


def test_only_the_regions_that_a_model_reads_are_chosen_from() -> None:
    whole = features_of(BOXES)
    cut = RegionFeatures(whole.spans, whole.features, whole.positions, max_regions=2)
    asked = [record((0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 1.0))]
    assert ReferredRegions.of(asked, whole, "train").regions.tolist() == [2, 0]
    assert ReferredRegions.of(asked, cut, "train").regions.tolist() == [-1, 0]


def test_a_split_in_which_nothing_is_named_is_refused() -> None:
    features = features_of(BOXES)
    for records in ([record()], [record((0.4, 0.4, 0.41, 0.41))]):
        with pytest.raises(ArtifactError, match="split 'val': no phrase names a region"):
            ReferredRegions.of(records, features, "val")
    with pytest.raises(ArtifactError, match="no phrase names a region"):
        ReferredRegions.of([record((0.0, 0.0, 0.5, 0.5))], blind_regions(1, 4), "train")


def test_a_batch_holds_the_regions_and_which_of_them_is_meant(
    gallery: tuple[tuple[PictureRecord, ...], RegionFeatures],
) -> None:
    made = stream(gallery, BatchShape(4))
    referred = ReferredRegions.of(*gallery, "train")
    named = np.flatnonzero(referred.regions >= 0)
    assert len(referred.phrases) - len(named) == 3  # the clouds
    assert made.batches_per_epoch == len(named) // 4
    for number in range(2 * made.batches_per_epoch):
        batch = made.batch(number)
        phrases = batch["input_ids"].max(axis=1) - 20
        assert "the cloud" not in {referred.phrases[phrase].text for phrase in phrases}
        for row, phrase in enumerate(phrases):
            picture = int(referred.picture_of[phrase])
            _, place, *_ = referred.phrases[phrase].text.split()
            assert batch["targets"][row] == list(things_of(picture)).index(place)
            assert batch["region_mask"][row, batch["targets"][row]]
            own = gallery_regions(picture)
            np.testing.assert_array_equal(batch["region_positions"][row, : len(own)], own.positions)
        assert batch["targets"].dtype == np.int64


def test_two_processes_see_what_one_with_the_whole_batch_sees(
    gallery: tuple[tuple[PictureRecord, ...], RegionFeatures],
) -> None:
    whole = stream(gallery, BatchShape(4))
    halves = [stream(gallery, BatchShape(2, rank=rank, processes=2)) for rank in (0, 1)]
    for number in (2, 0, 9):
        expected, parts = whole.batch(number), [half.batch(number) for half in halves]
        for name, array in expected.items():
            for mine, theirs in zip(array, [row for part in parts for row in part[name]], strict=True):
                shared = np.ndim(theirs) and len(theirs)
                np.testing.assert_array_equal(mine[:shared] if shared else mine, theirs)
        for name, array in whole.batch(number).items():
            np.testing.assert_array_equal(array, expected[name])
