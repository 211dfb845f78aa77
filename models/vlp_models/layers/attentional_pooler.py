"""Attentional pooling: some learned queries look at all states of a picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlp_models.layers.med_block import TextAttention


class AttentionalPooler(nn.Module):
    """One attention from learned queries, with layer norms before and after.

    Args:
        num_queries: Q, states that come out.
        hidden_size: their width, a multiple of num_heads.
        context_size: width of what they look at.
        num_heads: attention heads.
        layer_norm_eps: of both layer norms.

    Source: Yu et al. 2022 (CoCa, arXiv:2205.01917), sec. 3.2; Lee et al. 2019 (arXiv:1810.00825), sec. 3.2.
    """

    def __init__(
        self, num_queries: int, hidden_size: int, context_size: int, num_heads: int, *, layer_norm_eps: float
    ) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.zeros(num_queries, hidden_size))
        self.context_norm = nn.LayerNorm(context_size, eps=layer_norm_eps)
        self.attention = TextAttention(hidden_size, num_heads, context_size, dropout=0.0)
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)

    def forward(self, states: Tensor) -> Tensor:
        """(B, S, context_size) to (B, Q, D)."""
        seen = self.attention.keys_values(self.context_norm(states))
        queries = self.queries.expand(states.shape[0], -1, -1)
        return self.norm(self.dense(self.attention(queries, seen, None)))
