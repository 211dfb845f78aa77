from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from vlp_models.layers.grid_positions import interpolate_grid_positions, patch_validity


@pytest.mark.parametrize("side", [1, 3, 4])
@pytest.mark.parametrize("rows", [1, 2, 4, 7])
@pytest.mark.parametrize("columns", [1, 3, 5])
def test_it_is_torchs_bilinear_interpolation_with_aligned_corners(side: int, rows: int, columns: int) -> None:
    positions = torch.randn(side * side, 5, dtype=torch.float64)
    square = positions.T.reshape(1, 5, side, side)
    expected = F.interpolate(square, size=(rows, columns), mode="bilinear", align_corners=True)[0].flatten(1).T

    got = interpolate_grid_positions(positions, torch.tensor([[rows, columns]]), rows * columns + 2)

    assert torch.allclose(got[0, : rows * columns], expected, rtol=0, atol=1e-12)


def test_every_picture_of_a_batch_has_its_own_grid() -> None:
    positions = torch.randn(9, 4)
    grid = torch.tensor([[2, 3], [3, 1]], dtype=torch.int32)

    together = interpolate_grid_positions(positions, grid, 6)

    for row, alone in enumerate(grid):
        valid = int(alone.prod())
        assert torch.equal(together[row, :valid], interpolate_grid_positions(positions, alone[None], valid)[0])


def test_the_learned_grid_itself_is_left_as_it_is() -> None:
    positions = torch.randn(16, 4)
    got = interpolate_grid_positions(positions, torch.tensor([[4, 4]]), 16)
    assert torch.allclose(got[0], positions, rtol=0, atol=1e-6)


def test_valid_slots_come_first() -> None:
    mask = patch_validity(torch.tensor([[2, 1], [1, 3]], dtype=torch.int32), 4)
    assert mask.tolist() == [[True, True, False, False], [True, True, True, False]]
