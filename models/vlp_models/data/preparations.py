"""Each family's pictures as a store keeps them: by the processors that serve."""

from __future__ import annotations

import numpy as np
from PIL import Image
from vlp_pipeline.clip_image import ClipImageProcessor, ClipImageSettings
from vlp_pipeline.vilt_image import ViltImageProcessor, ViltImageSettings

from vlp_models.data.pictures import PictureStore


class ViltPreparation:
    """Pictures of any shape, resized and cut into patches."""

    def __init__(self, settings: ViltImageSettings) -> None:
        self.settings = settings
        self._processor = ViltImageProcessor(settings)

    @property
    def patch_size(self) -> int:
        """See Preparation."""
        return self.settings.patch_size

    @property
    def grey_grid(self) -> tuple[int, int]:
        """See Preparation."""
        side = self.settings.shorter_edge // self.settings.patch_size
        return side, side

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Preparation."""
        cut = self._processor.patches(pixels)
        return cut.patches, cut.grid


class SquarePreparation:
    """Pictures of one square size, each kept as a single patch: its pixels row by row."""

    def __init__(self, settings: ClipImageSettings) -> None:
        if settings.height != settings.width:
            raise ValueError(f"{settings.height}x{settings.width}: only squares are kept as one patch")
        self.settings = settings
        self._processor = ClipImageProcessor(settings)

    @property
    def patch_size(self) -> int:
        """See Preparation."""
        return self.settings.height

    @property
    def grey_grid(self) -> tuple[int, int]:
        """See Preparation."""
        return 1, 1

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Preparation."""
        fitted = self._processor.pixels(Image.fromarray(pixels))
        return fitted.reshape(1, -1), np.ones(2, dtype=np.int32)


def gather_squares(pictures: PictureStore, indices: np.ndarray) -> np.ndarray:
    """Pictures of a store that `SquarePreparation` filled: (B, S, S, 3) uint8."""
    patches, _ = pictures.gather(indices)
    side = round((patches.shape[2] // 3) ** 0.5)
    return patches.reshape(len(indices), side, side, 3)


def move_pictures(pixels: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Move pictures; what comes in at an edge repeats it.

    Args:
        pixels: (B, S, S, 3) uint8; not changed.
        moves: (B, 2) int, pixels down and to the right.

    Returns:
        (B, S, S, 3) uint8.
    """
    places = np.arange(pixels.shape[1])
    moved = np.empty_like(pixels)
    for row, (down, right) in enumerate(moves):
        rows, columns = (np.clip(places - move, 0, len(places) - 1) for move in (down, right))
        moved[row] = pixels[row][rows][:, columns]
    return moved
