from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from vlp_pipeline.detector_image import DetectorImageProcessor, resize_bilinear
from vlp_pipeline.detector_settings import DetectorSettings

SETTINGS = DetectorSettings.bottom_up_attention()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 480), (800, 600)),
        ((480, 640), (600, 800)),
        ((500, 333), (901, 600)),
        ((1920, 1080), (1000, 562)),  # 562.4999... in the published arithmetic
        ((300, 300), (600, 600)),
        ((2000, 10), (1000, 16)),
    ],
)
def test_the_shorter_side_becomes_600_unless_the_longer_would_pass_1000(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert DetectorImageProcessor(SETTINGS).target_size(*size) == expected


@pytest.mark.parametrize("size", [(7, 5), (40, 61), (23, 100), (13, 17)])
def test_resizing_is_what_torch_interpolates_without_antialiasing(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (17, 13, 3)).astype(np.uint8)
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(planes, size[::-1], mode="bilinear", align_corners=False)
    found = resize_bilinear(pixels, *size)
    assert found == pytest.approx(expected[0].permute(1, 2, 0).numpy(), abs=2e-3)


def test_pixels_come_as_blue_green_red_planes_that_are_not_normalised() -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:] = (10, 20, 30)
    small = replace(SETTINGS, shorter_edge=20, longer_edge=40)
    picture = DetectorImageProcessor(small).prepare(pixels)
    assert picture.pixels.shape == (1, 3, 20, 30)
    assert picture.pixels.dtype == np.float32
    assert (picture.width_px, picture.height_px) == (30, 20)
    assert picture.pixels[0, :, 0, 0].tolist() == [30, 20, 10]


def test_bytes_are_rounded_where_bytes_are_wanted() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (33, 47, 3)).astype(np.uint8)
    exact = DetectorImageProcessor(replace(SETTINGS, shorter_edge=20, longer_edge=40)).prepare(pixels)
    rounded = DetectorImageProcessor(replace(SETTINGS, shorter_edge=20, longer_edge=40, pixel_dtype="uint8")).prepare(
        pixels
    )
    assert rounded.pixels.dtype == np.uint8
    assert np.abs(rounded.pixels - exact.pixels).max() <= 0.5


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        DetectorImageProcessor(SETTINGS).prepare(pixels)
