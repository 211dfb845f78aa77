from __future__ import annotations

import base64
import os
from pathlib import Path

import numpy as np
import pytest
from vlp_models.data.region_pack import RegionPack, RegionPackWriter
from vlp_models.data.region_store import RegionNpzFolder, open_region_store
from vlp_models.data.region_tsv_index import RegionTsv
from vlp_models.data.uniter_lmdb import UniterImageLmdb
from vlp_pipeline.regions import RegionLimits
from vlp_spec.errors import ArtifactError, InvalidArgumentError, TooLargeError

GOLDEN = Path(__file__).parents[3] / "golden" / "uniter_lmdb"
NPZ = GOLDEN / "npz" / "coco_val2014"
NAMES = ["coco_val2014_000000000100", "coco_val2014_000000000101", "coco_val2014_000000000102"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "features"
    root.mkdir()
    for name in ("b", "a"):
        np.savez(root / f"{name}.npz", boxes=np.array([[0, 0, 0.5, 0.5]]), features=np.full((1, 4), ord(name), "f2"))
    return root


def test_a_folder_of_npz_files_is_read_by_name(folder: Path) -> None:
    (folder / "notes.txt").write_text("no regions")
    store = RegionNpzFolder(folder)
    assert store.ids() == ["a", "b"]
    assert store.regions("b").features.tolist() == [[98.0] * 4]
    store.close()


def test_uniters_folder_holds_all_rows() -> None:
    store = open_region_store(NPZ)
    assert store.ids() == NAMES
    assert [len(store.regions(name)) for name in NAMES] == [16, 14, 18]


@pytest.mark.parametrize(
    "name", ["c", "", "../features/a", "/etc/passwd", "a\0", "a.npz", "..", "x" * 300, "\udcff", "a/", ".\\a"]
)
def test_a_name_that_is_none_of_the_folders_is_not_there(folder: Path, name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="regions: none of picture"):
        RegionNpzFolder(folder).regions(name)


def test_what_is_no_file_is_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe.npz")
    (folder / "inner.npz").mkdir()
    store = RegionNpzFolder(folder)
    assert store.ids() == ["a", "b"]
    for name in ("pipe", "inner"):
        with pytest.raises(InvalidArgumentError, match="none of picture"):
            store.regions(name)


def test_a_broken_file_is_named(folder: Path) -> None:
    whole = (folder / "a.npz").read_bytes()
    (folder / "a.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidArgumentError, match="a.npz: regions: not an .npz file"):
        RegionNpzFolder(folder).regions("a")
    with pytest.raises(TooLargeError, match="b.npz: regions: the file has over 100 bytes"):
        RegionNpzFolder(folder, RegionLimits(max_bytes=100)).regions("b")


def test_the_form_is_found_by_what_lies_there(folder: Path, tmp_path: Path) -> None:
    with RegionPackWriter(tmp_path / "pack") as writer:
        writer.add("a", RegionNpzFolder(folder).regions("a"))
    boxes, features = (base64.b64encode(np.ones((1, n), "<f4").cumsum(1).tobytes()).decode() for n in (4, 5))
    (tmp_path / "rows.tsv").write_text(f"7\t4\t4\t1\t{boxes}\t{features}\n")
    found = {
        folder: RegionNpzFolder,
        tmp_path / "pack": RegionPack,
        tmp_path / "rows.tsv": RegionTsv,
        GOLDEN / "img_db" / "coco_val2014": UniterImageLmdb,
    }
    for path, kind in found.items():
        store = open_region_store(path)
        assert isinstance(store, kind)
        assert len(store.regions(store.ids()[0])) >= 1
        store.close()


@pytest.mark.parametrize("name", ["nothing", "empty", "rows.csv"])
def test_where_there_are_no_regions_it_says_what_was_expected(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "rows.csv").write_text("7,4,4")
    with pytest.raises(ArtifactError, match=f"{name}: .*expected"):
        open_region_store(tmp_path / name)
