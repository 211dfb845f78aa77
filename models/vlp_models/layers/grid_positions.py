"""Learned position embeddings of a square grid, interpolated to each picture's own grid without a loop."""

from __future__ import annotations

import torch
from torch import Tensor


def patch_validity(grid: Tensor, num_patches: int) -> Tensor:
    """Say which of the padded patch slots hold a patch.

    Args:
        grid: (B, 2) int, valid rows and columns of each picture.
        num_patches: number N of slots, at least the largest rows * columns.

    Returns:
        (B, N) bool; a picture's patches come first, in row-major order, padding after them.
    """
    index = torch.arange(num_patches, device=grid.device)
    return index[None, :] < (grid[:, 0] * grid[:, 1])[:, None]


def interpolate_grid_positions(positions: Tensor, grid: Tensor, num_patches: int) -> Tensor:
    """Interpolate a square grid of embeddings bilinearly, with aligned corners, to every picture's grid at once.

    Each target patch is a weighted sum of the source cells; the weight along an axis is the hat function
    max(0, 1 - |y - g|) of the distance between the patch's source coordinate y and the cell g. This is torch's
    `interpolate(mode="bilinear", align_corners=True)` as one matrix product, with shapes that do not depend on
    the data; a grid of one row or column takes the first cell, as torch does.

    Args:
        positions: (G*G, D) float, row-major.
        grid: (B, 2) int, rows and columns of each picture.
        num_patches: number N of slots per picture.

    Returns:
        (B, N, D) in the dtype of `positions`; rows past rows * columns are not meaningful and must be masked.
    """
    side = round(positions.shape[0] ** 0.5)
    compute_dtype = torch.float64 if positions.dtype == torch.float64 else torch.float32
    grid = grid.to(torch.int64)
    index = torch.arange(num_patches, device=positions.device)[None, :]
    columns = grid[:, 1:2].clamp(min=1)
    row_weights = _hat_weights(index // columns, grid[:, 0:1], side, compute_dtype)
    column_weights = _hat_weights(index % columns, grid[:, 1:2], side, compute_dtype)
    weights = (row_weights[:, :, :, None] * column_weights[:, :, None, :]).flatten(2)
    return weights.to(positions.dtype) @ positions


def _hat_weights(index: Tensor, size: Tensor, side: int, dtype: torch.dtype) -> Tensor:
    """Weights (B, N, side) of the source cells along one axis, for target cells `index` (B, N) of `size` (B, 1)."""
    # A single target cell sits at coordinate 0: its index is 0, whatever the divisor.
    scale = (side - 1) / (size - 1).clamp(min=1).to(dtype)
    coordinate = (index.to(dtype) * scale).clamp(max=side - 1)
    cells = torch.arange(side, device=index.device, dtype=dtype)
    return (1 - (coordinate[:, :, None] - cells).abs()).clamp(min=0)
