"""BLIP's forward passes under the names of its graphs; see vlp_pipeline.generative for what goes in and comes out.

Keys and values of the blocks are inputs and outputs of their own, block by block, keys first: no graph copies what it
only looks at.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from vlp_models.families.blip import BlipModel
from vlp_models.families.blip_text import MedModel
from vlp_models.layers.med_block import CrossContext, KeysValues
from vlp_models.layers.self_attention import key_mask_bias

from vlp_export.dual_encoder import unit_length


class BlipGraph(nn.Module):
    """A part of a BLIP; subclasses say which."""

    def __init__(self, model: BlipModel) -> None:
        super().__init__()
        self.model = model


class VisionGraph(BlipGraph):
    """A picture's states."""

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, states, vision width) of (B, H, W, 3) uint8."""
        return self.model.encode_image(pixels)


class MatchVisionGraph(BlipGraph):
    """A picture's states, and its embedding."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, states, vision width) and (B, dimension) of (B, H, W, 3) uint8."""
        states = self.model.encode_image(pixels)
        return states, unit_length(self.model.image_embeds(states))


class TextGraph(BlipGraph):
    """A text's embedding."""

    def forward(self, input_ids: Tensor, text_mask: Tensor) -> Tensor:
        """(B, dimension) of (B, T) int32 ids and mask."""
        return unit_length(self.model.text_embeds(input_ids, text_mask))


class CrossGraph(nn.Module):
    """What the blocks of a text part look at in a picture."""

    def __init__(self, reader: MedModel) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, seen_states: Tensor) -> tuple[Tensor, ...]:
        """Keys and values of each block, (B, heads, states, D / heads), of (B, states, vision width)."""
        return _flat(self.reader.cross_states(seen_states))


class QuestionGraph(BlipGraph):
    """What the decoder looks at in questions about a picture."""

    def forward(self, question_ids: Tensor, question_mask: Tensor, *looked: Tensor) -> tuple[Tensor, ...]:
        """Keys and values of each block, (B, K, heads, T, D / heads), of (B, K, T) ids and mask and a CrossGraph's."""
        states, _ = self.model.question_states(question_ids, _readable(question_mask), _by_block(looked))
        return _flat(states)


class FusionGraph(BlipGraph):
    """Whether texts belong to a picture."""

    def forward(self, question_ids: Tensor, question_mask: Tensor, *looked: Tensor) -> Tensor:
        """Logits (B, K, 2) of (B, K, T) ids and mask and a CrossGraph's outputs."""
        return self.model.itm_logits(question_ids, _readable(question_mask), _by_block(looked))


class PairGraph(BlipGraph):
    """Whether a statement is true of two pictures."""

    def forward(self, left_states: Tensor, right_states: Tensor, input_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Logits (B, 2) of (B, states, vision width) twice and (B, T) ids and mask."""
        left = self.model.side_states(left_states, right=False)
        right = self.model.side_states(right_states, right=True)
        return self.model.reasoning_logits(input_ids, text_mask, left, right)


class DecoderGraph(BlipGraph):
    """The next words of texts about a picture, or about a question.

    Args:
        masked: whether what it looks at has a mask.
    """

    def __init__(self, model: BlipModel, *, masked: bool) -> None:
        super().__init__(model)
        self.masked = masked

    def forward(self, input_ids: Tensor, past_lengths: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Go on with texts.

        Args:
            input_ids: (B, K, T) int32.
            past_lengths: (B,) int32.
            states: past keys and values of each block, (B, K, heads, P, D / heads); then what each block looks at,
                (B, heads, S, D / heads); then, where `masked`, its mask (B, S).

        Returns:
            logits (B, K, T, vocabulary), and keys and values of the new positions.
        """
        bias = None
        if self.masked:
            *states, at_mask = states  # type: ignore[assignment]
            bias = key_mask_bias(at_mask.to(torch.bool), states[0].dtype)
        half = len(states) // 2
        context = [CrossContext(block, bias) for block in _by_block(states[half:])]
        decoder = self.model.text_decoder
        hidden, new = decoder.bert.decode(input_ids, context, _by_block(states[:half]), past_lengths)
        return (decoder.logits(hidden), *_flat(new))


def _readable(text_mask: Tensor) -> Tensor:
    """The mask of texts (B, K, T) as bool; a text that is none, beside fewer texts of another picture, has one token.

    Attention over nothing at all would be no number.
    """
    first = torch.ones_like(text_mask[:, :, :1], dtype=torch.bool)
    return torch.cat([first, text_mask[:, :, 1:].to(torch.bool)], dim=2)


def _flat(blocks: Sequence[KeysValues]) -> tuple[Tensor, ...]:
    return tuple(tensor for block in blocks for tensor in block)


def _by_block(tensors: Sequence[Tensor]) -> list[KeysValues]:
    return [KeysValues(keys, values) for keys, values in zip(tensors[::2], tensors[1::2], strict=True)]
