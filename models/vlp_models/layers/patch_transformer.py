"""A ViT whose patches come cut out and whose blocks also carry text: ViLT's `transformer`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vlp_models.layers.grid_positions import interpolate_grid_positions, patch_validity
from vlp_models.layers.patch_embed import PatchEmbed
from vlp_models.layers.pre_norm_block import PreNormBlock
from vlp_models.layers.self_attention import key_mask_bias


class PatchTransformer(nn.Module):
    """Patch embedding with interpolated positions, pre-norm blocks, final norm; names are timm's.

    `gradient_checkpointing` may be set on the instance: blocks are then computed again in the backward pass.

    Args:
        hidden_size: width D.
        num_layers: number of blocks.
        num_heads: attention heads of each.
        patch_size: side of a patch in pixels.
        grid_side: side G of the learned position grid.
        mlp_ratio: inner width of the perceptrons over D.
        layer_norm_eps: 1e-6 in timm.
        dropout: probability, while training only.
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        num_layers: int,
        num_heads: int,
        patch_size: int,
        grid_side: int,
        mlp_ratio: float,
        layer_norm_eps: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.cls_token = nn.Parameter(torch.zeros(1, 1, hidden_size))
        self.pos_embed = nn.Parameter(torch.zeros(1, grid_side * grid_side + 1, hidden_size))
        self.patch_embed = PatchEmbed(patch_size, hidden_size)
        self.pos_drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            PreNormBlock(hidden_size, num_heads, mlp_ratio=mlp_ratio, layer_norm_eps=layer_norm_eps, dropout=dropout)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)

    def embed_image(self, patches: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Embed patches, add their positions, and put the image CLS in front.

        Args:
            patches: (B, N, P*P*3) uint8 or float; each picture's patches in row-major order, padding after them.
            grid: (B, 2) int, valid rows and columns.

        Returns:
            embeds (B, 1 + N, D), zero where padded, and mask (B, 1 + N) bool.
        """
        batch, num_patches = patches.shape[0], patches.shape[1]
        valid = patch_validity(grid, num_patches)
        positions = interpolate_grid_positions(self.pos_embed[0, 1:], grid, num_patches)
        embeds = self.patch_embed(patches) + positions
        embeds = torch.where(valid[:, :, None], embeds, torch.zeros_like(embeds))
        cls_embed = (self.cls_token + self.pos_embed[:, :1]).expand(batch, -1, -1)
        mask = torch.cat([torch.ones_like(valid[:, :1]), valid], dim=1)
        return self.pos_drop(torch.cat([cls_embed.to(embeds.dtype), embeds], dim=1)), mask

    def forward(self, hidden: Tensor, key_mask: Tensor) -> Tensor:
        """Run the blocks and the final norm: (B, S, D) and a key mask (B, S) bool to (B, S, D)."""
        bias = key_mask_bias(key_mask, hidden.dtype)
        for block in self.blocks:
            if self.gradient_checkpointing and self.training:
                hidden = checkpoint(block, hidden, bias, use_reentrant=False)
            else:
                hidden = block(hidden, bias)
        return self.norm(hidden)
