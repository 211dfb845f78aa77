from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vlp_models.data.region_pack import RegionPack, RegionPackWriter
from vlp_models.data.region_store import RegionNpzFolder
from vlp_pipeline.regions import RegionLimits, Regions, check_regions
from vlp_spec.errors import ArtifactError, InvalidArgumentError, TooLargeError

NPZ = Path(__file__).parents[3] / "golden" / "uniter_lmdb" / "npz" / "coco_val2014"


def _regions(rows: int, *, width: int = 4, scored: bool = True, largest: float = 9.0) -> Regions:
    rng = np.random.default_rng(rows)
    corners = rng.random((rows, 2)) * 0.5
    boxes = np.concatenate([corners, corners + 0.25], axis=1)
    features = np.linspace(0, largest, rows * width).reshape(rows, width)
    return check_regions(boxes, features, scores=rng.random(rows) if scored else None)


def _write(folder: Path, counts: dict[str, int]) -> Path:
    with RegionPackWriter(folder) as writer:
        for name, rows in counts.items():
            writer.add(name, _regions(rows))
    return folder


def test_pictures_come_back(tmp_path: Path) -> None:
    pack = RegionPack.open(_write(tmp_path / "deep" / "pack", {"b": 3, "a/1": 1, "ü": 7}))
    assert pack.ids() == ["b", "a/1", "ü"]
    for name, rows in (("ü", 7), ("b", 3), ("a/1", 1)):
        found, written = pack.regions(name), _regions(rows)
        np.testing.assert_array_equal(found.features, written.features.astype(np.float16).astype(np.float32))
        np.testing.assert_array_equal(found.boxes, written.boxes)
        np.testing.assert_array_equal(found.positions, written.positions)
        np.testing.assert_array_equal(found.scores, written.scores)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["pack"]
    pack.close()


def test_uniters_own_files_come_back_to_the_bit(tmp_path: Path) -> None:
    folder = RegionNpzFolder(NPZ)
    with RegionPackWriter(tmp_path / "pack") as writer:
        for name in folder.ids():
            writer.add(name, folder.regions(name))
    pack = RegionPack.open(tmp_path / "pack")
    for name in folder.ids():
        found, read = pack.regions(name), folder.regions(name)
        assert found.digest() == read.digest()
        assert found.class_probabilities is not None


def test_what_reached_out_of_the_picture_still_does_in_the_positions(tmp_path: Path) -> None:
    written = check_regions(np.array([[-0.0005, 0, 0.5, 0.5]]), np.ones((1, 4)))
    with RegionPackWriter(tmp_path / "pack") as writer:
        writer.add("a", written)
    found = RegionPack.open(tmp_path / "pack").regions("a")
    assert found.boxes[0, 0] == 0
    assert found.digest() == written.digest()


def test_numpy_reads_the_files_too(tmp_path: Path) -> None:
    folder = _write(tmp_path / "pack", {"a": 2, "b": 3})
    assert np.load(folder / "features.npy", allow_pickle=False).shape == (5, 4)
    assert np.load(folder / "scores.npy", mmap_mode="r").dtype == np.float32


def _stop_half_way(folder: Path) -> None:
    with RegionPackWriter(folder) as writer:
        writer.add("a", _regions(2))
        raise RuntimeError("stop")


def test_a_pack_that_was_not_finished_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        _stop_half_way(tmp_path / "pack")
    with pytest.raises(ArtifactError, match="no picture to write"), RegionPackWriter(tmp_path / "pack"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    folder = _write(tmp_path / "pack", {"a": 2})
    with pytest.raises(ArtifactError, match="is there already"):
        RegionPackWriter(folder)
    writer = RegionPackWriter(tmp_path / "late")
    writer.add("a", _regions(2))
    (tmp_path / "late").mkdir()
    with pytest.raises(ArtifactError, match="is there already"):
        writer.finish()
    writer.drop()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["late", "pack"]


@pytest.mark.parametrize(
    ("name", "regions", "names"),
    [
        ("a", _regions(2), "one that was there before"),
        ("", _regions(2), "an empty id"),
        ("b", _regions(2, width=5), "rows of"),
        ("b", _regions(2, scored=False), "rows of"),
        ("b", _regions(2, largest=70_000), "features: a number too large for float16"),
    ],
)
def test_a_picture_that_does_not_fit_is_refused_and_leaves_nothing(
    tmp_path: Path, name: str, regions: Regions, names: str
) -> None:
    with RegionPackWriter(tmp_path / "pack") as writer:
        writer.add("a", _regions(3))
        with pytest.raises(InvalidArgumentError, match=names):
            writer.add(name, regions)
        writer.add("c", _regions(1))
    pack = RegionPack.open(tmp_path / "pack")
    assert pack.ids() == ["a", "c"]
    np.testing.assert_array_equal(pack.regions("c").boxes, _regions(1).boxes)


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    pack = RegionPack.open(_write(tmp_path / "pack", {"a": 2}))
    with pytest.raises(InvalidArgumentError, match="regions: none of picture 'b' in"):
        pack.regions("b")


@pytest.mark.parametrize("name", ["features", "positions", "scores"])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, name: str) -> None:
    folder = _write(tmp_path / "pack", {"a": 20})
    whole = (folder / f"{name}.npy").read_bytes()
    for length in (0, 5, 100, 128, len(whole) - 1):
        (folder / f"{name}.npy").write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match=f"{name}.npy: .*cut short"):
            RegionPack.open(folder)
    (folder / f"{name}.npy").unlink()
    with pytest.raises(ArtifactError, match=f"{name}.npy: cannot be read"):
        RegionPack.open(folder)


@pytest.mark.parametrize(
    ("array", "names"),
    [
        (np.zeros((3, 4), dtype=object), "Python objects"),
        (np.zeros((3, 4), dtype=np.float64), "float64 of shape"),
        (np.zeros((2, 4), dtype=np.float16), "expected rows of 3 regions"),
        (np.zeros(3, dtype=np.float16), "expected rows of 3 regions"),
        (np.zeros((3, 0), dtype=np.float16), r"rows of \(0,\)"),
        (np.asfortranarray(np.zeros((3, 4), dtype=np.float16)), "expected rows"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, array: np.ndarray, names: str) -> None:
    folder = _write(tmp_path / "pack", {"a": 3})
    np.save(folder / "features.npy", array)
    with pytest.raises(ArtifactError, match=f"features.npy: .*{names}"):
        RegionPack.open(folder)


@pytest.mark.parametrize(
    ("name", "content", "names"),
    [
        ("meta.json", {"format": "other", "version": 1}, "expected format"),
        ("meta.json", {"format": "vlpserve-regions", "version": 2}, "version 1"),
        ("meta.json", {"format": "vlpserve-regions", "version": 1, "arrays": ["features"]}, "arrays: expected"),
        ("meta.json", {"format": "vlpserve-regions", "version": 1, "arrays": ["features", "positions", "../x"]}, "arr"),
        ("pictures.json", {}, "expected a list"),
        ("pictures.json", [], "expected a list"),
        ("pictures.json", [["a", 0], ["b", 3]], "picture 0"),
        ("pictures.json", [["a", 2], ["a", 1]], "picture 1"),
        ("pictures.json", [["a", True]], "picture 0"),
        ("pictures.json", ["a"], "picture 0"),
        ("pictures.json", [["a", 10**30]], "expected rows of 10000"),
    ],
)
def test_lists_that_do_not_fit_are_refused(tmp_path: Path, name: str, content: Any, names: str) -> None:
    folder = _write(tmp_path / "pack", {"a": 3})
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match=names):
        RegionPack.open(folder)


def test_damaged_numbers_are_found_when_they_are_read(tmp_path: Path) -> None:
    folder = _write(tmp_path / "pack", {"a": 3, "b": 3})
    stored = np.load(folder / "features.npy", mmap_mode="r+")
    stored[4, 2] = np.nan
    stored.flush()
    pack = RegionPack.open(folder)
    assert len(pack.regions("a")) == 3
    with pytest.raises(InvalidArgumentError, match="pack, picture 'b': regions: features: region 1 has NaN"):
        pack.regions("b")
    with pytest.raises(TooLargeError, match="pack, picture 'a': regions: 3 regions, at most 2"):
        RegionPack.open(folder, RegionLimits(max_regions=2)).regions("a")


def test_the_arrays_are_mapped_and_not_read(tmp_path: Path) -> None:
    pack = RegionPack.open(_write(tmp_path / "pack", {"a": 3, "b": 2}))
    assert all(isinstance(array, np.memmap) for array in pack.arrays.values())
    assert not pack.regions("a").features.flags.writeable
