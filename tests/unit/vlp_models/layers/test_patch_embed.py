from __future__ import annotations

import torch
from vlp_models.layers.patch_embed import PatchEmbed, normalise_pixels
from vlp_models.layers.patchify import patchify


def test_it_is_the_strided_convolution_of_the_published_weights() -> None:
    embed = PatchEmbed(patch_size=4, hidden_size=6).double()
    image = torch.randn(2, 3, 8, 12, dtype=torch.float64)

    got = embed(patchify(image, torch.tensor([[2, 3], [2, 3]]), 4))

    assert torch.allclose(got, embed.proj(image).flatten(2).transpose(1, 2), rtol=0, atol=1e-12)


def test_raw_pixels_are_normalised_inside() -> None:
    raw = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert torch.allclose(normalise_pixels(raw, torch.float32), torch.tensor([-1.0, -0.6, 1.0]), atol=1e-6)
    half = normalise_pixels(raw, torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert half[2] == 1


def test_floating_point_pixels_are_taken_as_normalised() -> None:
    assert torch.equal(normalise_pixels(torch.tensor([0.5]), torch.float64), torch.tensor([0.5], dtype=torch.float64))
