"""A BERT block, which normalises after each of its two halves. Names are those of BERT checkpoints."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class BertSelfAttention(nn.Module):
    """Scaled dot-product attention with separate projections for queries, keys and values.

    Args:
        hidden_size: width D, a multiple of num_heads.
        num_heads: number of heads.
        attention_dropout: probability on the attention weights, while training only.
    """

    def __init__(self, hidden_size: int, num_heads: int, *, attention_dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_dropout = attention_dropout
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor, attention_bias: Tensor) -> Tensor:
        """(B, S, D) and a bias (B, 1, 1, S) of `key_mask_bias` to (B, S, D)."""
        batch, length, width = hidden.shape
        query, key, value = (
            project(hidden).reshape(batch, length, self.num_heads, width // self.num_heads).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        dropout = self.attention_dropout if self.training else 0.0
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_bias, dropout_p=dropout)
        return context.transpose(1, 2).reshape(batch, length, width)


class NormalisedSum(nn.Module):
    """LayerNorm of what came in plus a linear map of what was computed: the end of either half."""

    def __init__(self, inner_size: int, hidden_size: int, *, layer_norm_eps: float, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inner_size, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inner: Tensor, hidden: Tensor) -> Tensor:
        """(B, S, inner) and (B, S, D) to (B, S, D)."""
        return self.LayerNorm(hidden + self.dropout(self.dense(inner)))


class PostNormBlock(nn.Module):
    """x = norm(x + attention(x)), then norm(x + perceptron(x)), with GELU by the error function.

    Args:
        hidden_size: width D.
        num_heads: attention heads.
        intermediate_size: inner width of the perceptron.
        layer_norm_eps: BERT's is 1e-12.
        dropout: probability at the end of both halves, while training only.
        attention_dropout: probability on the attention weights, while training only.

    Source: Devlin et al. 2019 (arXiv:1810.04805); Vaswani et al. 2017 (arXiv:1706.03762), sec. 3.1.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        intermediate_size: int,
        layer_norm_eps: float,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {
                "self": BertSelfAttention(hidden_size, num_heads, attention_dropout=attention_dropout),
                "output": NormalisedSum(hidden_size, hidden_size, layer_norm_eps=layer_norm_eps, dropout=dropout),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(hidden_size, intermediate_size)})
        self.output = NormalisedSum(intermediate_size, hidden_size, layer_norm_eps=layer_norm_eps, dropout=dropout)

    def forward(self, hidden: Tensor, attention_bias: Tensor) -> Tensor:
        """(B, S, D) and a bias (B, 1, 1, S) of `key_mask_bias` to (B, S, D)."""
        hidden = self.attention["output"](self.attention["self"](hidden, attention_bias), hidden)
        return self.output(F.gelu(self.intermediate["dense"](hidden)), hidden)
