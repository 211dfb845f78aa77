"""A transformer block that normalises before each of its two halves."""

from __future__ import annotations

from torch import Tensor, nn

from vlp_models.layers.mlp import Mlp
from vlp_models.layers.self_attention import SelfAttention


class PreNormBlock(nn.Module):
    """x + attention(norm1(x)), then x + mlp(norm2(x)).

    Args:
        hidden_size: width D.
        num_heads: attention heads.
        mlp_ratio: inner width of the perceptron over D.
        layer_norm_eps: 1e-6 in timm's vision transformers.
        dropout: probability at the end of both halves, while training only.

    Source: Dosovitskiy et al. 2021 (arXiv:2010.11929), eq. 2-3.
    """

    def __init__(
        self, hidden_size: int, num_heads: int, *, mlp_ratio: float, layer_norm_eps: float, dropout: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.attn = SelfAttention(hidden_size, num_heads, dropout=dropout)
        self.norm2 = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.mlp = Mlp(hidden_size, round(hidden_size * mlp_ratio), dropout=dropout)

    def forward(self, hidden: Tensor, attention_bias: Tensor) -> Tensor:
        """(B, S, D) and a bias (B, 1, 1, S) of `key_mask_bias` to (B, S, D)."""
        hidden = hidden + self.attn(self.norm1(hidden), attention_bias)
        return hidden + self.mlp(self.norm2(hidden))
