"""BLIP's block that looks at two pictures at once, for statements about both (NLVR2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from vlp_models.families.blip_config import BlipConfig
from vlp_models.layers.med_block import CrossContext, KeysValues, MedBlock, TextAttention


class PairStates(NamedTuple):
    """What a block looks at in the left picture, and in the right one."""

    left: KeysValues
    right: KeysValues


class PairSum(nn.Module):
    """LayerNorm of what came in plus what was seen in both pictures: the mean of two linear maps, or a map of both.

    Names are those of the published code.
    """

    def __init__(self, config: BlipConfig, *, merges: bool) -> None:
        super().__init__()
        text = config.hf.text_config
        width = text.hidden_size
        self.dense0 = nn.Linear(width, width)
        self.dense1 = nn.Linear(width, width)
        if merges:
            self.merge_layer = nn.Linear(2 * width, width)
        self.merges = merges
        self.LayerNorm = nn.LayerNorm(width, eps=text.layer_norm_eps)
        self.dropout = nn.Dropout(text.hidden_dropout_prob)

    def forward(self, left: Tensor, right: Tensor, hidden: Tensor) -> Tensor:
        """(..., D) three times to (..., D)."""
        left, right = self.dense0(left), self.dense1(right)
        both = self.merge_layer(torch.cat([left, right], dim=-1)) if self.merges else (left + right) / 2
        return self.LayerNorm(hidden + self.dropout(both))


class PairBlock(MedBlock):
    """A MedBlock whose second part looks at two pictures by attentions of their own.

    Source: Li et al. 2022 (arXiv:2201.12086), sec. 5.4.
    """

    def __init__(self, config: BlipConfig, *, merges: bool) -> None:
        super().__init__(**config.block_sizes(context_size=0))
        text = config.hf.text_config

        def attention() -> TextAttention:
            dropout = text.attention_probs_dropout_prob
            return TextAttention(text.hidden_size, text.num_attention_heads, text.encoder_hidden_size, dropout=dropout)

        self.crossattention = nn.ModuleDict(
            {"self0": attention(), "self1": attention(), "output": PairSum(config, merges=merges)}
        )

    def look(self, hidden: Tensor, cross: CrossContext) -> Tensor:
        """(B, K, T, D) to the same; `cross.states` are PairStates."""
        pair = cast(PairStates, cross.states)
        flat = hidden.flatten(1, 2)
        left = self.crossattention["self0"](flat, pair.left, None)
        right = self.crossattention["self1"](flat, pair.right, None)
        return self.crossattention["output"](left, right, flat).view_as(hidden)


def side_states(blocks: Iterable[nn.Module], states: Tensor, *, right: bool) -> list[KeysValues]:
    """Keys and values of one picture, (B, S, vision width), for each PairBlock; (B, heads, S, D / heads) each."""
    name = "self1" if right else "self0"
    return [cast(TextAttention, cast(PairBlock, block).crossattention[name]).keys_values(states) for block in blocks]
