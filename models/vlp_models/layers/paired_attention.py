"""Let two sequences of equal width look at each other: UNITER's NLVR2 model on top of its two passes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CrossAttention(nn.Module):
    """Multi-head attention of one sequence over another; names are those of torch's MultiheadAttention.

    Args:
        hidden_size: width D, a multiple of num_heads.
        num_heads: number of heads.
        attention_dropout: probability on the attention weights, while training only.

    Source: Vaswani et al. 2017 (arXiv:1706.03762), sec. 3.2.
    """

    def __init__(self, hidden_size: int, num_heads: int, *, attention_dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_dropout = attention_dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * hidden_size))
        self.out_proj = nn.Linear(hidden_size, hidden_size)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, hidden: Tensor, context: Tensor, context_bias: Tensor) -> Tensor:
        """Attend from `hidden` to `context`.

        Args:
            hidden: (B, S, D), gives the queries.
            context: (B, C, D), gives keys and values.
            context_bias: (B, 1, 1, C) of `key_mask_bias`.

        Returns:
            (B, S, D).
        """
        batch, length, width = hidden.shape
        projections = zip(
            (hidden, context, context), self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True
        )
        query, key, value = (
            F.linear(source, weight, bias)
            .reshape(batch, source.shape[1], self.num_heads, width // self.num_heads)
            .transpose(1, 2)
            for source, weight, bias in projections
        )
        dropout = self.attention_dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=context_bias, dropout_p=dropout)
        return self.out_proj(attended.transpose(1, 2).reshape(batch, length, width))


class AttentionPooling(nn.Module):
    """One vector for a sequence: its positions weighted by the softmax of one learned score each.

    Args:
        hidden_size: width D.
        dropout: probability on the weights, while training only.
    """

    def __init__(self, hidden_size: int, *, dropout: float) -> None:
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(hidden_size, 1), nn.ReLU())
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(B, S, D) and a mask (B, S) bool, at least one true a row, to (B, D)."""
        scores = self.fc(hidden)[:, :, 0].masked_fill(~mask, float("-inf"))
        weights = self.dropout(scores.softmax(dim=1))
        return (weights[:, None] @ hidden)[:, 0]
