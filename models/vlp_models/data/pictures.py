"""Pictures of a split, decoded and cut into patches once, then served by index as padded uint8 batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PictureStore:
    """Random access to prepared pictures.

    Attributes:
        patches: one (n_i, P*P*3) uint8 array a picture, row-major; arrays in memory or views of a mapped file.
        grids: (pictures, 2) int32, rows and columns of patches; rows * columns = n_i.
    """

    patches: Sequence[np.ndarray]
    grids: np.ndarray

    def __len__(self) -> int:
        return len(self.patches)

    def gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Build a padded batch.

        Args:
            indices: (B,) int, picture numbers.

        Returns:
            patches (B, N, P*P*3) uint8, zero after each picture's own, and grid (B, 2) int32.
        """
        grid = self.grids[indices]
        counts = grid[:, 0] * grid[:, 1]
        batch = np.empty((len(indices), int(counts.max()), self.patches[0].shape[1]), dtype=np.uint8)
        for row, (index, count) in enumerate(zip(indices, counts, strict=True)):
            batch[row, :count] = self.patches[index]
            batch[row, count:] = 0
        return batch, grid

    def arrays(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The same by name: "patches" and "grid"."""
        patches, grid = self.gather(indices)
        return {"patches": patches, "grid": grid}


def grey_store(pictures: int, grid: tuple[int, int], patch_size: int) -> PictureStore:
    """A store whose every picture is the same grey one: what a question-only baseline is trained on.

    Args:
        pictures: how many.
        grid: rows and columns of patches.
        patch_size: side of a patch in pixels.
    """
    patches = np.full((grid[0] * grid[1], patch_size * patch_size * 3), 128, dtype=np.uint8)
    return PictureStore([patches] * pictures, np.tile(np.array(grid, dtype=np.int32), (pictures, 1)))
