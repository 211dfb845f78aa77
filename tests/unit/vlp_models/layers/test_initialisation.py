from __future__ import annotations

import torch
from torch import nn
from vlp_models.layers.initialisation import init_truncated_normal, sine_cosine_grid


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


def test_rows_and_columns_can_be_read_off_the_grid_by_a_linear_map() -> None:
    grid = sine_cosine_grid(6, 160)
    places = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0))
    assert grid.shape == (36, 160)
    assert grid.abs().max() <= 1
    solution = torch.linalg.lstsq(torch.cat([grid, torch.ones(36, 1)], dim=1), places, driver="gelsd").solution
    torch.testing.assert_close(torch.cat([grid, torch.ones(36, 1)], dim=1) @ solution, places, atol=1e-3, rtol=0)
    # The first half speaks of rows alone, the second of columns alone.
    assert torch.equal(grid.view(6, 6, 160)[2, 1, :80], grid.view(6, 6, 160)[2, 4, :80])
    assert torch.equal(grid.view(6, 6, 160)[1, 2, 80:], grid.view(6, 6, 160)[4, 2, 80:])
