from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_pictures import picture_bytes, write_jsonl
from vlp_models.data.picture_loading import PictureOptions, load_pictures
from vlp_models.data.preparations import SquarePreparation, ViltPreparation, gather_squares
from vlp_models.data.sources import open_source
from vlp_pipeline.clip_image import ClipImageProcessor, ClipImageSettings
from vlp_pipeline.images import decode_image
from vlp_pipeline.vilt_image import ViltImageProcessor, ViltImageSettings
from vlp_spec.errors import ArtifactError

SETTINGS = ViltImageSettings(16, 26, 8, 8)
OPTIONS = PictureOptions(ViltPreparation(SETTINGS), threads=1)


def test_pictures_are_those_of_the_serving_processor(tmp_path: Path) -> None:
    split = load_pictures(open_source(write_jsonl(tmp_path, {"train": 4}), "train"), "train", OPTIONS)
    patches, grid = split.pictures.gather(np.array([1, 0]))
    expected = ViltImageProcessor(SETTINGS).patches(decode_image(picture_bytes(1)))
    assert grid.tolist() == [[2, 3], [2, 2]]
    assert np.array_equal(patches[0], expected.patches)
    assert patches.shape == (2, 6, 192)
    assert not patches[1, 4:].any()


def test_the_mapped_file_holds_what_memory_holds_and_is_used_again(tmp_path: Path) -> None:
    source = open_source(write_jsonl(tmp_path / "data", {"train": 6}), "train")
    kept = load_pictures(source, "train", OPTIONS)
    options = replace(OPTIONS, cache_dir=tmp_path / "cache")
    mapped = load_pictures(source, "train", options)
    (tmp_path / "data/images/train/0.png").unlink()  # a second reading of the pictures would miss it
    again = load_pictures(source, "train", options)
    indices = np.arange(6)
    for other in (mapped, again):
        assert other.records == kept.records
        for mine, theirs in zip(kept.pictures.gather(indices), other.pictures.gather(indices), strict=True):
            assert np.array_equal(mine, theirs)


def test_other_settings_make_another_mapped_file(tmp_path: Path) -> None:
    source = open_source(write_jsonl(tmp_path / "data", {"train": 2}), "train")
    options = replace(OPTIONS, cache_dir=tmp_path / "cache")
    load_pictures(source, "train", options)
    other = load_pictures(
        source, "train", replace(options, preparation=ViltPreparation(ViltImageSettings(8, 13, 8, 8)))
    )
    assert other.pictures.grids.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("cached", [False, True])
def test_blind_pictures_are_all_the_same_grey(tmp_path: Path, cached: bool) -> None:
    root = write_jsonl(tmp_path, {"train": 3})
    cache_dir = tmp_path / "cache" if cached else None
    options = replace(OPTIONS, blind=True, cache_dir=cache_dir)
    split = load_pictures(open_source(root, "train"), "train", options)
    patches, grid = split.pictures.gather(np.array([0, 2]))
    assert (patches == 128).all()
    assert grid.tolist() == [[2, 2], [2, 2]]


def test_the_limit_counts_pictures(tmp_path: Path) -> None:
    source = open_source(write_jsonl(tmp_path, {"train": 5}), "train")
    assert len(load_pictures(source, "train", replace(OPTIONS, limit=2)).records) == 2


def test_a_torn_picture_is_skipped_when_it_is_one_of_many(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_jsonl(tmp_path, {"train": 101})
    torn = root / "images/train/3.png"
    torn.write_bytes(torn.read_bytes()[:60])
    split = load_pictures(open_source(root, "train"), "train", OPTIONS)
    assert len(split.records) == len(split.pictures) == 100
    assert "train-3" not in {record.id for record in split.records}
    assert "train.jsonl:4" in caplog.text


def test_many_torn_pictures_end_the_run(tmp_path: Path) -> None:
    root = write_jsonl(tmp_path, {"train": 4})
    (root / "images/train/3.png").write_bytes(b"not a picture")
    with pytest.raises(ArtifactError, match=r"1 of 4 records skipped.*at most 1%"):
        load_pictures(open_source(root, "train"), "train", OPTIONS)


@pytest.mark.parametrize("cached", [False, True])
def test_squares_are_those_of_the_serving_processor(tmp_path: Path, cached: bool) -> None:
    settings = ClipImageSettings(20, 20)
    cache_dir = tmp_path / "cache" if cached else None
    options = PictureOptions(SquarePreparation(settings), cache_dir=cache_dir, threads=1)
    split = load_pictures(open_source(write_jsonl(tmp_path, {"train": 4}), "train"), "train", options)
    pixels = gather_squares(split.pictures, np.array([2, 1]))
    assert (pixels.shape, pixels.dtype) == ((2, 20, 20, 3), np.uint8)
    shown = Image.fromarray(decode_image(picture_bytes(2)))
    assert np.array_equal(pixels[0], ClipImageProcessor(settings).pixels(shown))


def test_only_squares_are_kept_as_one_patch() -> None:
    with pytest.raises(ValueError, match="20x30"):
        SquarePreparation(ClipImageSettings(20, 30))
