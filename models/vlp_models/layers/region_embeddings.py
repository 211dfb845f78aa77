"""Embed what a detector found: features of regions and where they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

POSITION_SIZE = 7
"""Numbers of a position: x1, y1, x2, y2, width, height as shares of the picture's sides, and width * height."""


class RegionEmbeddings(nn.Module):
    """LN(LN(features) + LN(position) + token type), each of the first two after a linear map.

    Args:
        region_size: numbers F of a region's features.
        hidden_size: width D.
        layer_norm_eps: 1e-12 in the published model.
        dropout: probability, while training only.

    Source: Chen et al. 2020 (arXiv:1909.11740), sec. 3.1 and figure 1; names of ChenRocks/UNITER.
    """

    def __init__(self, region_size: int, hidden_size: int, *, layer_norm_eps: float, dropout: float) -> None:
        super().__init__()
        self.img_linear = nn.Linear(region_size, hidden_size)
        self.img_layer_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.pos_layer_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.pos_linear = nn.Linear(POSITION_SIZE, hidden_size)
        # Row 1 stands for a masked region. Row 0 is in the published files, always zero, and never used.
        self.mask_embedding = nn.Embedding(2, region_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        region_features: Tensor,
        region_positions: Tensor,
        type_embeds: Tensor,
        region_masked: Tensor | None = None,
    ) -> Tensor:
        """Embed regions.

        Args:
            region_features: (B, R, F) float, of any precision.
            region_positions: (B, R, 7) float; see `POSITION_SIZE`.
            type_embeds: (B, R, D) or (D,), rows of the token type table.
            region_masked: (B, R) bool, true = the features are hidden from the model; None hides none.

        Returns:
            (B, R, D).
        """
        dtype = self.mask_embedding.weight.dtype
        region_features = region_features.to(dtype)
        if region_masked is not None:
            region_features = torch.where(region_masked[:, :, None], self.mask_embedding.weight[1], region_features)
        features = self.img_layer_norm(self.img_linear(region_features))
        positions = self.pos_layer_norm(self.pos_linear(region_positions.to(dtype)))
        return self.dropout(self.LayerNorm(features + positions + type_embeds))
