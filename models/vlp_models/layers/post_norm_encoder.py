"""BERT's encoder: a stack of post-norm blocks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vlp_models.layers.post_norm_block import PostNormBlock
from vlp_models.layers.self_attention import key_mask_bias


class PostNormEncoder(nn.Module):
    """Post-norm blocks one after the other; names are those of BERT checkpoints.

    `gradient_checkpointing` may be set on the instance: blocks are then computed again in the backward pass.

    Args:
        hidden_size: width D.
        num_layers: number of blocks.
        num_heads: attention heads of each.
        intermediate_size: inner width of the perceptrons.
        layer_norm_eps: BERT's is 1e-12.
        dropout: probability at the end of both halves of a block, while training only.
        attention_dropout: probability on the attention weights, while training only.
    """

    def __init__(
        self,
        hidden_size: int,
        *,
        num_layers: int,
        num_heads: int,
        intermediate_size: int,
        layer_norm_eps: float,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.layer = nn.ModuleList(
            PostNormBlock(
                hidden_size,
                num_heads,
                intermediate_size=intermediate_size,
                layer_norm_eps=layer_norm_eps,
                dropout=dropout,
                attention_dropout=attention_dropout,
            )
            for _ in range(num_layers)
        )

    def forward(self, hidden: Tensor, key_mask: Tensor) -> Tensor:
        """(B, S, D) and a key mask (B, S) bool, at least one true a row, to (B, S, D)."""
        bias = key_mask_bias(key_mask, hidden.dtype)
        for block in self.layer:
            if self.gradient_checkpointing and self.training:
                hidden = checkpoint(block, hidden, bias, use_reentrant=False)
            else:
                hidden = block(hidden, bias)
        return hidden
