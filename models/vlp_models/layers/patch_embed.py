"""Linear projection of flattened picture patches, with the normalisation of raw pixels inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PatchEmbed(nn.Module):
    """Project patches that are already cut out, so that pictures of any grid share one batch.

    The weight keeps the shape of the published convolution (`proj.weight`, (D, 3, P, P)): a checkpoint maps by
    name, and a strided convolution over a picture equals this product over its patches.

    Args:
        patch_size: side of a patch in pixels.
        hidden_size: width D of the output.

    Source: Dosovitskiy et al. 2021 (arXiv:2010.11929), sec. 3.1; Kim et al. 2021 (arXiv:2102.03334), sec. 3.1.
    """

    def __init__(self, patch_size: int, hidden_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(3, hidden_size, kernel_size=patch_size, stride=patch_size)

    def forward(self, patches: Tensor) -> Tensor:
        """Embed a batch of patches.

        Args:
            patches: (B, N, P*P*3), pixels in the order row, column, channel. uint8 raw RGB, or floating point
                already normalised to [-1, 1].

        Returns:
            (B, N, D) in the dtype of the weights.
        """
        weight = self.proj.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(normalise_pixels(patches, self.proj.weight.dtype), weight, self.proj.bias)


def normalise_pixels(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """Map raw uint8 pixels from [0, 255] to [-1, 1]; floating point input is only cast.

    Args:
        pixels: any shape; uint8 or floating point.
        dtype: of the result.
    """
    if pixels.is_floating_point():
        return pixels.to(dtype)
    # Half precision would round before the subtraction; the product is done in float32 at least.
    compute_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    return (pixels.to(compute_dtype) * (2.0 / 255.0) - 1.0).to(dtype)
