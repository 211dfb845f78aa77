from __future__ import annotations

import pytest
import torch
from vlp_models.layers.patchify import grid_of_padded, patchify
from vlp_spec.errors import InvalidArgumentError


def test_a_pictures_own_patches_come_first_row_by_row() -> None:
    images = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).reshape(2, 3, 4, 6)

    patches = patchify(images, torch.tensor([[2, 2], [1, 3]]), 2)

    assert patches.shape == (2, 4, 12)
    # Second picture cell of the first: row 0, columns 2 and 3; pixel order is row, column, channel.
    assert torch.equal(patches[0, 1], images[0, :, 0:2, 2:4].permute(1, 2, 0).flatten())
    assert torch.equal(patches[0, 2], images[0, :, 2:4, 0:2].permute(1, 2, 0).flatten())
    assert torch.equal(patches[1, 3], torch.zeros(12))


def test_the_type_of_raw_pixels_is_kept() -> None:
    images = torch.full((1, 3, 2, 2), 7, dtype=torch.uint8)
    assert patchify(images, torch.tensor([[1, 1]]), 2).dtype == torch.uint8


@pytest.mark.parametrize("grid", [[3, 1], [1, 0]])
def test_a_grid_outside_of_the_picture_is_refused(grid: list[int]) -> None:
    with pytest.raises(InvalidArgumentError, match="expected 1x1 to 2x3"):
        patchify(torch.zeros(1, 3, 4, 6), torch.tensor([grid]), 2)


def test_padding_at_the_bottom_and_right_is_found() -> None:
    images = torch.zeros(2, 3, 6, 4)
    images[0, :, :4, :2] = 0.3
    images[1] = -0.2
    assert grid_of_padded(images, 2).tolist() == [[2, 1], [3, 2]]
