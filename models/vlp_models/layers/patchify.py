"""Cut batches of padded pictures into patch arrays, for training and for checks against reference arrays.

The server cuts its patches with numpy in vlp_pipeline; this file is the torch counterpart.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from vlp_spec.errors import InvalidArgumentError


def grid_of_padded(images: Tensor, patch_size: int) -> Tensor:
    """Find each picture's grid in a batch that is zero-padded at the bottom and right.

    A patch is valid when the channel sum of the pixel at its top-left corner is not zero. Pixels that come from
    uint8 are never lost by this: normalised to [-1, 1], no three of them add up to zero.

    Args:
        images: (B, 3, H, W) float in [-1, 1], padded with 0.
        patch_size: side of a patch in pixels.

    Returns:
        (B, 2) int64: valid rows counted in the first column, valid columns counted in the first row.
    """
    rows, columns = images.shape[2] // patch_size, images.shape[3] // patch_size
    present = (images.sum(dim=1, keepdim=True) != 0).float()
    present = F.interpolate(present, size=(rows, columns))[:, 0]
    return torch.stack([present[:, :, 0].sum(1), present[:, 0, :].sum(1)], dim=1).to(torch.int64)


def patchify(images: Tensor, grid: Tensor, patch_size: int) -> Tensor:
    """Cut every picture's own patches, in row-major order, and pad the batch with zeros.

    Args:
        images: (B, 3, H, W), uint8 or float; the picture in the top-left corner.
        grid: (B, 2) int, rows and columns of patches of each picture.
        patch_size: side P of a patch in pixels.

    Returns:
        (B, N, P*P*3) in the dtype of `images`, pixels in the order row, column, channel; N is the largest
        rows * columns of the batch.

    Raises:
        InvalidArgumentError: a grid is larger than its picture, or smaller than one patch.
    """
    rows_max, columns_max = images.shape[2] // patch_size, images.shape[3] // patch_size
    sizes = [(int(rows), int(columns)) for rows, columns in grid.tolist()]
    for rows, columns in sizes:
        if not (1 <= rows <= rows_max and 1 <= columns <= columns_max):
            raise InvalidArgumentError(
                f"grid: got {rows}x{columns} patches of {patch_size} pixels, expected 1x1 to {rows_max}x{columns_max} "
                f"for pictures of {images.shape[2]}x{images.shape[3]} pixels"
            )
    cells = images[:, :, : rows_max * patch_size, : columns_max * patch_size]
    cells = cells.reshape(len(sizes), -1, rows_max, patch_size, columns_max, patch_size)
    cells = cells.permute(0, 2, 4, 3, 5, 1).flatten(3)  # batch, row, column, (y, x, channel)
    patches = cells.new_zeros(len(sizes), max(r * c for r, c in sizes), cells.shape[-1])
    for picture, (rows, columns) in enumerate(sizes):
        patches[picture, : rows * columns] = cells[picture, :rows, :columns].reshape(rows * columns, -1)
    return patches
