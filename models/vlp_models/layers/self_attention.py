"""Multi-head self-attention with one fused projection for queries, keys and values."""

from __future__ import annotations

import torch
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

    def forward(self, hidden: Tensor, attention_bias: Tensor) -> Tensor:
        """Attend from every position to the valid ones.

        Args:
            hidden: (B, S, D).
            attention_bias: (B, 1, 1, S) of `key_mask_bias`, added to the attention scores.

        Returns:
            (B, S, D).
        """
        batch, length, width = hidden.shape
        qkv = self.qkv(hidden).reshape(batch, length, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_bias)
        return self.dropout(self.proj(context.transpose(1, 2).reshape(batch, length, width)))


def key_mask_bias(key_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn a mask of valid positions into the term that attention adds to its scores, once for all blocks.

    A boolean mask would do in torch, but exports to one more selection per block, for rows without any valid key;
    there are none here.

    Args:
        key_mask: (B, S) bool, True = may be attended to; each row has at least one True.
        dtype: of the hidden states.

    Returns:
        (B, 1, 1, S): 0 where valid, minus infinity elsewhere.
    """
    bias = torch.zeros_like(key_mask, dtype=dtype).masked_fill(~key_mask, float("-inf"))
    return bias[:, None, None, :]
