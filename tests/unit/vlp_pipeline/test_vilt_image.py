import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlp_pipeline.vilt_image import ViltImageProcessor, ViltImageSettings
from vlp_spec.errors import ArtifactError

GOLDEN = Path(__file__).parents[2] / "golden" / "vilt_preprocess"
OFFICIAL = ViltImageProcessor(ViltImageSettings(shorter_edge=384, longer_edge=639, size_divisor=32, patch_size=32))
SMALL = ViltImageProcessor(ViltImageSettings(shorter_edge=64, longer_edge=106, size_divisor=32, patch_size=32))
RAW = {"type": "vilt", "shorter_edge": 384, "longer_edge": 639, "size_divisor": 32, "patch_size": 32}


def test_every_row_of_the_official_size_table() -> None:
    table = json.loads((GOLDEN / "size_table_384.json").read_text())
    assert len(table) == 300
    # The original says 0, and raises, where a side is shorter than one block; here it keeps one block.
    wanted = [(max(new_width, 32), max(new_height, 32)) for _, _, new_width, new_height in table]
    assert [OFFICIAL.target_size(width, height) for width, height, _, _ in table] == wanted
    assert any(0 in row for row in table)


@pytest.mark.parametrize("index", range(4))
def test_official_pixels_to_the_bit(index: int) -> None:
    with np.load(GOLDEN / "inputs.npz") as inputs, np.load(GOLDEN / "outputs.npz") as outputs:
        pixels, expected = inputs[f"img{index}"], outputs[f"pixels{index}"]
    resized = SMALL.resize(pixels)
    scaled = (resized.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    np.testing.assert_array_equal(scaled.transpose(2, 0, 1), expected)


@pytest.mark.parametrize("index", range(4))
def test_patches_are_the_official_pixels_row_by_row(index: int) -> None:
    with np.load(GOLDEN / "inputs.npz") as inputs:
        pixels = inputs[f"img{index}"]
    processor = ViltImageProcessor(ViltImageSettings(64, 106, size_divisor=32, patch_size=16))
    resized, cut = processor.resize(pixels), processor.patches(pixels)
    rows, columns = cut.grid
    assert cut.grid.dtype == np.int32
    assert (rows * 16, columns * 16) == resized.shape[:2]
    assert cut.patches.dtype == np.uint8
    assert cut.patches.shape == (rows * columns, 16 * 16 * 3)
    assert cut.patches.flags.c_contiguous
    for index_in_grid, patch in enumerate(cut.patches):
        row, column = divmod(index_in_grid, int(columns))
        block = resized[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
        np.testing.assert_array_equal(patch, block.reshape(-1))


def test_one_column_of_patches_belongs_to_the_caller_too() -> None:
    cut = SMALL.patches(np.zeros((320, 8, 3), dtype=np.uint8))
    assert cut.grid.tolist() == [3, 1]
    cut.patches[:] = 1
    assert cut.patches.min() == 1


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_any_size_gives_whole_blocks_within_the_limits(width: int, height: int) -> None:
    new_width, new_height = OFFICIAL.target_size(width, height)
    assert new_width % 32 == new_height % 32 == 0
    assert 32 <= min(new_width, new_height) <= 384
    assert max(new_width, new_height) <= 608
    assert (new_width // 32) * (new_height // 32) <= OFFICIAL.max_patches == 228
    assert OFFICIAL.target_size(height, width) == (new_height, new_width)


def test_one_pixel_becomes_a_square() -> None:
    cut = OFFICIAL.patches(np.full((1, 1, 3), 77, dtype=np.uint8))
    assert cut.grid.tolist() == [12, 12]
    assert (cut.patches == 77).all()


def test_extreme_aspect_ratio_keeps_a_strip_of_patches() -> None:
    assert OFFICIAL.patches(np.zeros((10, 2000, 3), dtype=np.uint8)).grid.tolist() == [1, 19]


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_pixels_of_another_form(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        OFFICIAL.resize(pixels)


def test_settings_from_a_manifest() -> None:
    settings = ViltImageSettings.from_mapping({**RAW, "resample": "bicubic"})
    assert settings == OFFICIAL.settings
    assert ViltImageSettings.from_mapping(RAW).resample == "bicubic"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop": 3}, "unknown key crop"),
        ({"shorter_edge": "384"}, "shorter_edge: got '384', expected int"),
        ({"shorter_edge": 384.0}, "expected int"),
        ({"shorter_edge": True}, "expected int"),
        ({"type": "clip"}, "expected 'vilt'"),
        ({"resample": "box"}, "none of bilinear, bicubic, lanczos"),
        ({"longer_edge": 383}, "longer_edge"),
        ({"size_divisor": 0}, "size_divisor"),
        ({"size_divisor": 400}, "size_divisor"),
        ({"patch_size": 24}, "no multiple"),
        ({"patch_size": 0}, "no multiple"),
    ],
)
def test_settings_that_do_not_fit(change: dict[str, object], message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        ViltImageSettings.from_mapping({**RAW, **change})
    assert caught.value.message.startswith("deployment.image")


def test_missing_setting() -> None:
    with pytest.raises(ArtifactError, match="missing key patch_size, size_divisor"):
        ViltImageSettings.from_mapping({"type": "vilt", "shorter_edge": 384, "longer_edge": 639})
