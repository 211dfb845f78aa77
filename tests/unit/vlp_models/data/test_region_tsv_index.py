from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vlp_models.data import region_tsv_index
from vlp_models.data.region_tsv_index import RegionTsv
from vlp_pipeline.regions import RegionLimits
from vlp_spec.errors import ArtifactError, InvalidArgumentError


def _line(picture: Any, value: float, rows: int = 2, width: int = 3) -> bytes:
    boxes = np.tile(np.array([[1, 1, 5, 5]], dtype=np.float32), (rows, 1))
    features = np.full((rows, width), value, dtype=np.float32)
    texts = [base64.b64encode(array.tobytes()).decode() for array in (boxes, features)]
    return "\t".join([str(picture), "10", "20", str(rows), *texts]).encode() + b"\r\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "features.tsv"
    path.write_bytes(_line(30, 0.5) + _line("twenty", 0.25, rows=5) + _line(10, 0.125))
    return path


def test_pictures_are_found_in_any_order(path: Path) -> None:
    store = RegionTsv.open(path)
    assert store.ids() == ["30", "twenty", "10"]
    for name, value, rows in (("10", 0.125, 2), ("30", 0.5, 2), ("twenty", 0.25, 5), ("10", 0.125, 2)):
        regions = store.regions(name)
        np.testing.assert_array_equal(regions.features, np.full((rows, 3), value))
        np.testing.assert_allclose(regions.boxes[0], [0.1, 0.05, 0.5, 0.25])
    store.close()


def test_a_picture_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="none of picture '11' in"):
        RegionTsv.open(path).regions("11")


@pytest.mark.parametrize(
    ("added", "names"),
    [
        (_line(30, 1.0), "line 4: regions: picture '30' for the second time"),
        (b"11\t10\t20\t2\tAAAA", "line 4: regions: 5 fields between tabs"),
        (b"x" * 200_000, "line 4: over 128000 bytes"),
    ],
)
def test_a_file_that_cannot_be_indexed_says_where(path: Path, added: bytes, names: str) -> None:
    path.write_bytes(path.read_bytes() + added)
    with pytest.raises(ArtifactError, match=names):
        RegionTsv.open(path, RegionLimits(max_bytes=64_000))


def test_a_file_cut_between_two_numbers_is_noticed(path: Path) -> None:
    # Two regions of three numbers each have 32 characters; 24 are two regions of two numbers, and 16 bytes of padding.
    whole = path.read_bytes().rstrip()
    path.write_bytes(whole[:-16] + base64.b64encode(bytes(4)))
    store = RegionTsv.open(path)
    assert len(store.regions("30")) == 2
    with pytest.raises(InvalidArgumentError, match=r"features.tsv, picture '10': regions: features"):
        store.regions("10")


@pytest.mark.parametrize("content", [b"", b"\r\n\r\n"])
def test_an_empty_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="no line with regions"):
        RegionTsv.open(path)


def test_a_file_that_is_not_there_or_unusable_is_named(path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read or indexed"):
        RegionTsv.open(path.with_name("other.tsv"))
    with pytest.raises(ArtifactError, match=r"picture '30': regions: features: got shape \(2, 3\)"):
        RegionTsv.open(path, RegionLimits(feature_width=2048))


def test_a_kept_index_saves_the_second_reading(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "features.index.json"
    first = RegionTsv.open(path, index_path=index)
    monkeypatch.setattr(region_tsv_index, "tsv_lines", None)
    second = RegionTsv.open(path, index_path=index)
    assert second.spans == first.spans
    np.testing.assert_array_equal(second.regions("10").features, first.regions("10").features)


@pytest.mark.parametrize(
    "broken",
    [
        "no json",
        "[]",
        {"size_bytes": 1},
        {"lines": []},
        {"lines": [["30", -1, 5]]},
        {"lines": [["30", 0, 10**9]]},
        {"lines": [["30", 0, True]]},
        {"lines": [["30", 0]]},
    ],
)
def test_an_index_of_another_file_or_none_is_made_anew(path: Path, tmp_path: Path, broken: Any) -> None:
    index = tmp_path / "features.index.json"
    spans = RegionTsv.open(path, index_path=index).spans
    kept = index.read_text()
    index.write_text(broken if isinstance(broken, str) else json.dumps({**json.loads(kept), **broken}))
    assert RegionTsv.open(path, index_path=index).spans == spans
    assert index.read_text() == kept


def test_a_file_that_changed_behind_the_index_is_noticed(path: Path) -> None:
    store = RegionTsv.open(path)
    path.write_bytes(_line(40, 0.5) + path.read_bytes()[len(_line(40, 0.5)) :])
    with pytest.raises(InvalidArgumentError, match="another picture's line"):
        store.regions("30")
    path.unlink()
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        store.regions("10")
