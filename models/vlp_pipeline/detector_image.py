"""The region detector's picture processor: resize, and turn the channels round to blue, green, red.

Resizing is bilinear between the middles of pixels without antialiasing, as the published torch code does it (Caffe's
version, with OpenCV, differs from it in the last digits of the scale). The mean is taken off in the graph. One
difference: each side keeps at least one cell of the feature map, where the original fails on extreme aspect ratios.

Source: huggingface/transformers-research-projects, lxmert/processing_image.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlp_pipeline.detector_settings import DetectorSettings


@dataclass(frozen=True, slots=True, eq=False)
class DetectorPicture:
    """A picture as the backbone reads it.

    Attributes:
        pixels: (1, 3, height, width) uint8 or float32 in 0 to 255; blue, green, red. C-contiguous.
    """

    pixels: np.ndarray

    @property
    def width_px(self) -> int:
        """Of the resized picture."""
        return int(self.pixels.shape[3])

    @property
    def height_px(self) -> int:
        """Of the resized picture."""
        return int(self.pixels.shape[2])


class DetectorImageProcessor:
    """Resizes pictures; without state, so any thread may use it."""

    def __init__(self, settings: DetectorSettings) -> None:
        self.settings = settings

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        """The size that a picture of width x height is resized to, as (width, height)."""
        settings = self.settings
        scale = settings.shorter_edge / min(width, height)
        # The side that becomes `shorter_edge` is set, not scaled: the product may miss it by one rounding step.
        new_width, new_height = (
            (scale * width, float(settings.shorter_edge))
            if height < width
            else (float(settings.shorter_edge), scale * height)
        )
        if max(new_width, new_height) > settings.longer_edge:
            scale = settings.longer_edge / max(new_width, new_height)
            new_width, new_height = new_width * scale, new_height * scale
        least = settings.stride_px
        return max(int(new_width + 0.5), least), max(int(new_height + 0.5), least)

    def prepare(self, pixels: np.ndarray) -> DetectorPicture:
        """Resize a decoded picture.

        Args:
            pixels: (H, W, 3) uint8, RGB.

        Raises:
            ValueError: another shape or dtype.
        """
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
            raise ValueError(f"pixels: got {pixels.dtype} {pixels.shape}, expected uint8 (height, width, 3)")
        width, height = self.target_size(pixels.shape[1], pixels.shape[0])
        resized = pixels if (height, width) == pixels.shape[:2] else resize_bilinear(pixels, width, height)
        if self.settings.pixel_dtype == "uint8" and resized.dtype != np.uint8:
            resized = np.rint(resized)
        planes = resized[:, :, ::-1].transpose(2, 0, 1)[None]
        return DetectorPicture(np.ascontiguousarray(planes, dtype=self.settings.pixel_dtype))


def resize_bilinear(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Interpolate between the middles of the four nearest pixels, whatever the scale.

    Args:
        pixels: (H, W, C), uint8 or float32.
        width: of the result.
        height: of the result.

    Returns:
        (height, width, C) float32.
    """
    rows = _neighbours(pixels.shape[0], height)
    mixed = _mix(pixels[rows[0]], pixels[rows[1]], rows[2][:, None, None])
    columns = _neighbours(pixels.shape[1], width)
    return _mix(mixed[:, columns[0]], mixed[:, columns[1]], columns[2][None, :, None])


def _neighbours(size: int, new_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every new place, the old places before and after it, and the weight of the latter."""
    places = (np.arange(new_size, dtype=np.float64) + 0.5) * (size / new_size) - 0.5
    places = np.clip(places, 0, size - 1)
    before = places.astype(np.int64)
    return before, np.minimum(before + 1, size - 1), (places - before).astype(np.float32)


def _mix(before: np.ndarray, after: np.ndarray, share: np.ndarray) -> np.ndarray:
    first = before.astype(np.float32)
    return np.asarray(first + (after.astype(np.float32) - first) * share)
