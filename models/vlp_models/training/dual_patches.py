"""A dual encoder's patches besides its embedding, for objectives on parts of a picture."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from vlp_models.families.dual_encoder import DualEncoder


class ImageFeatures(NamedTuple):
    """What one pass of the picture tower gives."""

    embeds: Tensor
    """(B, D), not normalised; what `encode_image` gives."""
    patches: Tensor
    """(B, N, W), in row-major order, after the tower's last norm."""


def encode_with_patches(model: DualEncoder, pixels: Tensor) -> ImageFeatures:
    """Embed pictures (B, H, W, 3) uint8 in one pass that also keeps the patches."""
    scaled = pixels.permute(0, 3, 1, 2).to(model.pixel_mean.dtype) / 255
    output = model.hf.vision_model(pixel_values=(scaled - model.pixel_mean) / model.pixel_std)
    if model.config.kind == "siglip":
        return ImageFeatures(output.pooler_output, output.last_hidden_state)
    patches = model.hf.vision_model.post_layernorm(output.last_hidden_state[:, 1:])
    return ImageFeatures(model.hf.visual_projection(output.pooler_output), patches)


def project_patches(model: DualEncoder, patches: Tensor) -> Tensor:
    """Patches (P, W) to where texts lie, (P, D): by CLIP's projection; SigLIP's tower is there already."""
    return patches if model.config.kind == "siglip" else model.hf.visual_projection(patches)
