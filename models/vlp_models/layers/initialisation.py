"""Weights for training from scratch."""

from __future__ import annotations

from torch import nn


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
