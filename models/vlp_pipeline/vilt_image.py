"""ViLT's picture processor: resize by its own rule, cut into patches.

Source: dandelin/ViLT @762fd39, vilt/transforms (pixelbert_transform), whose sizes and pixels are reproduced exactly.
Normalisation ((x / 255 - 0.5) / 0.5) is left to the graph. One difference: a picture of an extreme aspect ratio
(about 20 to 1) gets a side of 0 there and the original raises; here each side keeps at least `size_divisor` pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vlp_pipeline.settings import read_settings

RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class ViltImageSettings:
    """How a picture is resized and cut; all in pixels.

    Attributes:
        shorter_edge: target of the shorter side.
        longer_edge: cap of the longer side; the whole picture shrinks to meet it.
        size_divisor: both sides are floored to a multiple of it.
        patch_size: side of a square patch; divides `size_divisor`.
        resample: "bilinear", "bicubic" or "lanczos", all antialiased.
        type: "vilt".
    """

    shorter_edge: int
    longer_edge: int
    size_divisor: int
    patch_size: int
    resample: str = "bicubic"
    type: str = "vilt"

    def __post_init__(self) -> None:
        if self.type != "vilt":
            raise ValueError(f"type {self.type!r}, expected 'vilt'")
        if self.resample not in RESAMPLING:
            raise ValueError(f"resample {self.resample!r} is none of {', '.join(RESAMPLING)}")
        if not 1 <= self.size_divisor <= self.shorter_edge <= self.longer_edge:
            raise ValueError(
                f"expected 1 <= size_divisor <= shorter_edge <= longer_edge, got {self.size_divisor}, "
                f"{self.shorter_edge}, {self.longer_edge}"
            )
        if self.patch_size < 1 or self.size_divisor % self.patch_size:
            raise ValueError(f"size_divisor {self.size_divisor} is no multiple of patch_size {self.patch_size}")

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> ViltImageSettings:
        """Read `Deployment.image`.

        Raises:
            ArtifactError: an unknown or missing key, or a value that does not fit.
        """
        return read_settings(cls, raw, "deployment.image")


@dataclass(frozen=True, slots=True, eq=False)
class PatchGrid:
    """A picture as patches.

    Attributes:
        patches: (rows * columns, patch_size * patch_size * 3) uint8, patches row by row, and within a patch its
            pixels by row, column, channel; C-contiguous, owned by the caller.
        grid: (2,) int32: rows, columns.
    """

    patches: np.ndarray
    grid: np.ndarray


class ViltImageProcessor:
    """Resizes and cuts pictures; without state, so any thread may use it."""

    def __init__(self, settings: ViltImageSettings) -> None:
        self.settings = settings

    @property
    def max_patches(self) -> int:
        """The most patches that any picture can give (228 at 384 pixels with patches of 32)."""
        settings = self.settings
        shorter, longer = settings.shorter_edge, settings.longer_edge
        blocks = (shorter // settings.size_divisor) * (longer // settings.size_divisor)
        return blocks * (settings.size_divisor // settings.patch_size) ** 2

    def target_size(self, width: int, height: int) -> tuple[int, int]:
        """The size that a picture of width x height is resized to, as (width, height)."""
        settings = self.settings
        shorter = settings.shorter_edge
        scale = shorter / min(width, height)
        # The side that becomes `shorter` is set, not scaled: the product may miss it by one rounding step.
        new_width, new_height = (scale * width, float(shorter)) if height < width else (float(shorter), scale * height)
        if max(new_width, new_height) > settings.longer_edge:
            scale = settings.longer_edge / max(new_width, new_height)
            new_width, new_height = new_width * scale, new_height * scale
        return self._floor(new_width), self._floor(new_height)

    def resize(self, pixels: np.ndarray) -> np.ndarray:
        """Resize to `target_size`.

        Args:
            pixels: (H, W, 3) uint8.

        Returns:
            (H', W', 3) uint8; owned by the caller.

        Raises:
            ValueError: another shape or dtype.
        """
        return np.array(self.resize_picture(_picture(pixels)))

    def resize_picture(self, picture: Image.Image) -> Image.Image:
        """As `resize`, on a Pillow picture of mode RGB."""
        return picture.resize(self.target_size(*picture.size), resample=RESAMPLING[self.settings.resample])

    def patches(self, pixels: np.ndarray) -> PatchGrid:
        """Resize and cut (H, W, 3) uint8 pixels."""
        return self.picture_patches(_picture(pixels))

    def picture_patches(self, picture: Image.Image) -> PatchGrid:
        """As `patches`, on a Pillow picture of mode RGB."""
        side = self.settings.patch_size
        pixels = np.asarray(self.resize_picture(picture))
        rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
        blocks = pixels.reshape(rows, side, columns, side * 3).swapaxes(1, 2)
        patches = np.array(blocks, order="C").reshape(rows * columns, side * side * 3)
        return PatchGrid(patches, np.array([rows, columns], dtype=np.int32))

    def _floor(self, side: float) -> int:
        divisor = self.settings.size_divisor
        return max(int(side + 0.5) // divisor, 1) * divisor


def _picture(pixels: np.ndarray) -> Image.Image:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or 0 in pixels.shape:
        raise ValueError(f"pixels: got {pixels.dtype} {pixels.shape}, expected uint8 (height, width, 3)")
    return Image.fromarray(pixels)
