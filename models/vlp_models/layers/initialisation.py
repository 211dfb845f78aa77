"""Weights for training from scratch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def init_truncated_normal(module: nn.Module, std: float = 0.02) -> None:
    """Initialise one module in place; for `nn.Module.apply`.

    Linear, convolution and embedding weights: normal with `std`, cut at +-2; biases 0; layer norms 1 and 0.

    Source: Dosovitskiy et al. 2021 (arXiv:2010.11929), as in timm.
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=std)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


def sine_cosine_grid(side: int, width: int) -> Tensor:
    """Position embeddings of a square grid: half the width tells the row, half the column, as sines and cosines.

    Small random positions drown in what the patches show; from these, a model tells places from the first step on.

    Args:
        side: cells G along each axis.
        width: D, a multiple of 4.

    Returns:
        (G*G, D) float32, row-major, in -1 to 1.

    Source: Beyer et al. 2022 (arXiv:2205.01580), with wavelengths that fit a grid of a few cells.
    """
    cells = torch.arange(side, dtype=torch.float32)
    angles = cells[:, None] * _SHARPEST / _TEMPERATURE ** torch.linspace(0, 1, width // 4)
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = axis[:, None].expand(-1, side, -1), axis[None].expand(side, -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


_SHARPEST = 1.5  # radians from one cell to the next
_TEMPERATURE = 30.0
