from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from region_files import npz
from tiny_gallery import REGION_CLASSES, REGION_SIZE, gallery_record, gallery_regions
from vlp_models.data.records import PictureRecord, parse_record
from vlp_models.data.region_features import RegionFeatures, blind_regions, load_region_features
from vlp_models.data.region_pack import RegionPackWriter
from vlp_spec.errors import ArtifactError

PICTURES = 8
RECORDS = tuple(parse_record(gallery_record("train", index)) for index in range(PICTURES))
COUNTS = [len(gallery_regions(index)) for index in range(PICTURES)]


def write_pack(folder: Path, indices: range, *, classes: bool = True) -> Path:
    with RegionPackWriter(folder) as writer:
        for index in indices:
            writer.add(f"train-{index}", gallery_regions(index, classes=classes))
    return folder


def write_npz(folder: Path, indices: range) -> Path:
    folder.mkdir()
    for index in indices:
        regions = gallery_regions(index)
        names = ("boxes", "features", "scores", "class_probabilities")
        (folder / f"train-{index}.npz").write_bytes(npz({name: getattr(regions, name) for name in names}))
    return folder


def load(path: Path, records: tuple[PictureRecord, ...] = RECORDS, most: int = 100) -> RegionFeatures:
    kept, features = load_region_features(path, records, "train", max_regions=most)
    assert kept == records
    return features


def test_counts_are_uneven_enough_to_tell_mistakes() -> None:
    assert set(COUNTS) == {1, 2, 3}


def test_a_batch_is_padded_with_zeros_and_masked(tmp_path: Path) -> None:
    features = load(write_pack(tmp_path / "pack", range(PICTURES)))
    assert (len(features), features.region_size) == (PICTURES, REGION_SIZE)
    indices = np.array([5, 0, 2, 0])
    arrays, probabilities = features.arrays(indices), features.probabilities(indices)
    assert {name: (array.dtype.name, array.shape[2:]) for name, array in arrays.items()} == {
        "region_features": ("float16", (REGION_SIZE,)),
        "region_positions": ("float32", (7,)),
        "region_mask": ("bool", ()),
    }
    slots = max(COUNTS[index] for index in indices)
    assert features.counts(indices).tolist() == [COUNTS[index] for index in indices]
    for row, index in enumerate(indices):
        own, count = gallery_regions(int(index)), COUNTS[index]
        assert arrays["region_mask"][row].tolist() == [True] * count + [False] * (slots - count)
        np.testing.assert_array_equal(arrays["region_features"][row, :count], own.features.astype(np.float16))
        np.testing.assert_array_equal(arrays["region_positions"][row, :count], own.positions)
        assert own.class_probabilities is not None
        np.testing.assert_array_equal(probabilities[row, :count], own.class_probabilities.astype(np.float16))
        np.testing.assert_allclose(features.boxes(int(index)), own.boxes, atol=1e-6)
        for array in (*arrays.values(), probabilities):
            assert not array[row, count:].any()
    assert probabilities.shape == (4, slots, REGION_CLASSES)


def test_a_pack_and_a_folder_of_npz_give_the_same_arrays(tmp_path: Path) -> None:
    pack = load(write_pack(tmp_path / "pack", range(PICTURES)))
    folder = load(write_npz(tmp_path / "npz", range(PICTURES)))
    assert isinstance(pack.features, np.memmap)
    assert not isinstance(folder.features, np.memmap)
    for indices in (np.arange(PICTURES), np.array([3]), np.array([7, 1, 1])):
        mine, theirs = pack.arrays(indices), folder.arrays(indices)
        for name, array in mine.items():
            assert array.dtype == theirs[name].dtype
            np.testing.assert_array_equal(array, theirs[name])
        np.testing.assert_array_equal(pack.probabilities(indices), folder.probabilities(indices))
        np.testing.assert_array_equal(pack.boxes(int(indices[0])), folder.boxes(int(indices[0])))


@pytest.mark.parametrize("write", [write_pack, write_npz])
def test_only_the_first_regions_are_taken_where_there_are_too_many(tmp_path: Path, write: object) -> None:
    assert callable(write)
    features = load(write(tmp_path / "store", range(PICTURES)), most=2)
    indices = np.arange(PICTURES)
    assert features.counts(indices).tolist() == [min(2, count) for count in COUNTS]
    arrays = features.arrays(indices)
    assert arrays["region_mask"].sum(axis=1).tolist() == [min(2, count) for count in COUNTS]
    fullest = COUNTS.index(3)
    expected = gallery_regions(fullest).features[:2].astype(np.float16)
    np.testing.assert_array_equal(arrays["region_features"][fullest], expected)
    assert features.boxes(fullest).shape == (2, 4)


def many(count: int) -> tuple[PictureRecord, ...]:
    return tuple(parse_record(gallery_record("train", index)) for index in range(count))


@pytest.mark.parametrize("write", [write_pack, write_npz])
def test_a_picture_without_regions_is_left_out_and_counted(
    tmp_path: Path, write: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(write)
    records = many(101)
    kept, features = load_region_features(write(tmp_path / "store", range(1, 101)), records, "train")
    assert [record.id for record in kept] == [f"train-{index}" for index in range(1, 101)]
    np.testing.assert_array_equal(features.arrays(np.array([0]))["region_positions"][0], gallery_regions(1).positions)
    assert "1 of 101 records skipped" in caplog.text


@pytest.mark.parametrize("write", [write_pack, write_npz])
def test_more_than_a_few_pictures_without_regions_are_refused(tmp_path: Path, write: object) -> None:
    assert callable(write)
    store = write(tmp_path / "store", range(2, 20))
    with pytest.raises(ArtifactError, match=r"split 'train': 2 of 20 records skipped .*train-0"):
        load_region_features(store, many(20), "train")
    with pytest.raises(ArtifactError, match=r"no readable record \(2 faulty\)"):
        load_region_features(store, many(2), "train")


def test_a_store_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere: expected"):
        load_region_features(tmp_path / "nowhere", RECORDS, "train")


def test_regions_without_classes_have_no_probabilities(tmp_path: Path) -> None:
    features = load(write_pack(tmp_path / "pack", range(PICTURES), classes=False))
    with pytest.raises(ArtifactError, match="no class probabilities, which learning masked classes needs"):
        features.probabilities(np.array([0]))


def test_one_file_without_classes_takes_them_from_all(tmp_path: Path) -> None:
    folder = write_npz(tmp_path / "npz", range(PICTURES))
    regions = gallery_regions(3)
    (folder / "train-3.npz").write_bytes(npz({"boxes": regions.boxes, "features": regions.features}))
    features = load(folder)
    assert features.class_probabilities is None
    np.testing.assert_array_equal(
        features.arrays(np.array([4]))["region_features"][0], gallery_regions(4).features.astype(np.float16)
    )


def test_files_are_cut_as_uniters_own_databases_are(tmp_path: Path) -> None:
    arrays = {"boxes": np.tile([[0, 0, 0.5, 0.5]], (20, 1)), "features": np.arange(40.0).reshape(20, 2)}
    folder = tmp_path / "npz"
    folder.mkdir()
    for index, sure in enumerate((11, 3)):
        scores = np.array([0.9] * sure + [0.2] * (20 - sure))  # what counts must exceed 0.2
        (folder / f"train-{index}.npz").write_bytes(npz({**arrays, "scores": scores}))
    (folder / "train-2.npz").write_bytes(npz(arrays))
    features = load(folder, RECORDS[:3])
    assert features.counts(np.arange(3)).tolist() == [11, 10, 20]
    assert load(folder, RECORDS[:3], most=4).counts(np.arange(3)).tolist() == [4, 4, 4]


def test_features_that_half_precision_cannot_hold_are_refused(tmp_path: Path) -> None:
    folder = write_npz(tmp_path / "npz", range(1))
    boxes = gallery_regions(0).boxes
    (folder / "train-0.npz").write_bytes(npz({"boxes": boxes, "features": np.full((len(boxes), 2), 1e6)}))
    with pytest.raises(ArtifactError, match="too large for float16"):
        load(folder, RECORDS[:1])


def test_a_blind_model_sees_the_same_empty_region_of_every_picture() -> None:
    features = blind_regions(5, 3)
    arrays = features.arrays(np.array([4, 0]))
    assert arrays["region_features"].tolist() == [[[0, 0, 0]]] * 2
    assert arrays["region_positions"].tolist() == [[[0, 0, 1, 1, 1, 1, 1]]] * 2
    assert arrays["region_mask"].tolist() == [[True]] * 2
    assert (len(features), features.region_size, features.counts(np.arange(5)).tolist()) == (5, 3, [1] * 5)
    assert features.boxes(2).tolist() == [[0, 0, 1, 1]]
    with pytest.raises(ArtifactError, match="no class probabilities"):
        features.probabilities(np.array([0]))
