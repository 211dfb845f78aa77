from __future__ import annotations

import torch
from torch import nn
from vlp_models.layers.initialisation import init_truncated_normal


def test_weights_are_small_and_biases_zero() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.Conv2d(3, 64, 4))
    nn.init.constant_(module[1].weight, 3.0)
    module.apply(init_truncated_normal)

    for layer in (module[0], module[2]):
        assert abs(layer.weight.std().item() - 0.02) < 0.002
        assert not layer.bias.any()
    assert torch.equal(module[1].weight, torch.ones(64))


def test_embeddings_are_small_too() -> None:
    torch.manual_seed(0)
    table = nn.Embedding(100, 50)
    init_truncated_normal(table)
    assert abs(table.weight.std().item() - 0.02) < 0.002
