"""BLIP's text block: BERT's, which may also look at a picture, and may continue texts that it has read before.

Texts of one picture lie side by side, (B, K, T, D): they see the same picture, whose keys and values are computed once
for all of them, and nothing of each other. Names are those of transformers' BLIP.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlp_models.layers.post_norm_block import NormalisedSum


class KeysValues(NamedTuple):
    """What an attention looks at; keys and values of the same shape, (..., heads, positions, D / heads)."""

    keys: Tensor
    values: Tensor


class TextAttention(nn.Module):
    """Attention with separate projections, over the text itself or over the states of something else.

    Args:
        hidden_size: width D of the text, a multiple of num_heads.
        num_heads: attention heads.
        context_size: width of what is looked at.
        dropout: probability on the attention weights, while training only.
    """

    def __init__(self, hidden_size: int, num_heads: int, context_size: int, *, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(context_size, hidden_size)
        self.value = nn.Linear(context_size, hidden_size)

    def keys_values(self, context: Tensor) -> KeysValues:
        """(..., S, context_size) to keys and values (..., heads, S, D / heads)."""
        return KeysValues(self._by_head(self.key(context)), self._by_head(self.value(context)))

    def forward(self, hidden: Tensor, seen: KeysValues, bias: Tensor | None) -> Tensor:
        """Look at `seen`.

        Args:
            hidden: (..., T, D).
            seen: (..., heads, S, D / heads), with the same leading axes.
            bias: added to the scores, (..., T or 1, S) with an axis for the heads; None adds nothing.

        Returns:
            (..., T, D).
        """
        query = self._by_head(self.query(hidden))
        dropout = self.dropout if self.training else 0.0
        context = F.scaled_dot_product_attention(query, seen.keys, seen.values, attn_mask=bias, dropout_p=dropout)
        return context.transpose(-2, -3).flatten(-2)

    def _by_head(self, states: Tensor) -> Tensor:
        return states.unflatten(-1, (self.num_heads, -1)).transpose(-2, -3)


class MedBlock(nn.Module):
    """norm(x + self-attention(x)), norm(x + attention to a picture), norm(x + perceptron(x)).

    Args:
        hidden_size: width D.
        num_heads: attention heads.
        context_size: width of the states that `crossattention` looks at; 0 leaves it out.
        intermediate_size: inner width of the perceptron.
        layer_norm_eps: BERT's is 1e-12.
        dropout: probability at the end of each part, while training only.
        attention_dropout: probability on the attention weights, while training only.

    Source: Li et al. 2022 (arXiv:2201.12086), sec. 3.1.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        context_size: int,
        *,
        intermediate_size: int,
        layer_norm_eps: float,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()

        def attention(width: int) -> nn.ModuleDict:
            looking = TextAttention(hidden_size, num_heads, width, dropout=attention_dropout)
            adding = NormalisedSum(hidden_size, hidden_size, layer_norm_eps=layer_norm_eps, dropout=dropout)
            return nn.ModuleDict({"self": looking, "output": adding})

        self.attention = attention(hidden_size)
        self.crossattention = attention(context_size) if context_size else nn.ModuleDict()
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(hidden_size, intermediate_size)})
        self.output = NormalisedSum(intermediate_size, hidden_size, layer_norm_eps=layer_norm_eps, dropout=dropout)

    def forward(
        self, hidden: Tensor, bias: Tensor, past: KeysValues | None = None, cross: CrossContext | None = None
    ) -> tuple[Tensor, KeysValues]:
        """Read texts, or go on with them.

        Args:
            hidden: (B, K, T, D).
            bias: of the text's attention to itself, (B, 1, 1, T or 1, P + T).
            past: of the P positions before, (B, K, heads, P, D / heads).
            cross: what is looked at besides.

        Returns:
            hidden (B, K, T, D), and the new positions' keys and values (B, K, heads, T, D / heads).
        """
        new = cast(TextAttention, self.attention["self"]).keys_values(hidden)
        seen = new
        if past is not None:
            seen = KeysValues(torch.cat([past.keys, new.keys], dim=3), torch.cat([past.values, new.values], dim=3))
        hidden = self.attention["output"](self.attention["self"](hidden, seen, bias), hidden)
        if cross is not None:
            hidden = self.look(hidden, cross)
        return self.output(F.gelu(self.intermediate["dense"](hidden)), hidden), new

    def look(self, hidden: Tensor, cross: CrossContext) -> Tensor:
        """The second part: (B, K, T, D) to the same."""
        flat = hidden.flatten(1, 2)  # the texts of a picture see it alike, so they are one long text here
        seen = self.crossattention["self"](flat, cross.states, cross.bias)
        looked: Tensor = self.crossattention["output"](seen, flat)
        return looked.view_as(hidden)


class CrossContext(NamedTuple):
    """What a block looks at besides the text.

    Attributes:
        states: keys and values (B, heads, S, D / heads), as the block's own `crossattention` made them; a block that
            looks at two things has a pair of them.
        bias: (B, 1, 1, S) of `key_mask_bias`; None where all of them count.
    """

    states: Any
    bias: Tensor | None = None
