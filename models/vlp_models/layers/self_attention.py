"""Multi-head self-attention with one fused projection for queries, keys and values."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """Scaled dot-product attention over one sequence; names are those of timm's vision transformers.

    Args:
        hidden_size: width D, a multiple of num_heads.
        num_heads: number of heads.
        dropout: probability after the output projection, while training only. The attention weights themselves
            are never dropped, as in the published ViT training.
    """

    def __init__(self, hidden_size: int, num_heads: int, *, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.proj = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, key_mask: Tensor) -> Tensor:
        """Attend from every position to the valid ones.

        Args:
            hidden: (B, S, D).
            key_mask: (B, S) bool, True = may be attended to; each row has at least one True.

        Returns:
            (B, S, D).
        """
        batch, length, width = hidden.shape
        qkv = self.qkv(hidden).reshape(batch, length, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=key_mask[:, None, None, :])
        return self.dropout(self.proj(context.transpose(1, 2).reshape(batch, length, width)))
