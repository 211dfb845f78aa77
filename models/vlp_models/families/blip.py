"""BLIP: a ViT, and a BERT that reads texts by itself, looks at the picture while reading, or writes.

The picture side is transformers' own module. The text side is written here: transformers' ignores the encoder's mask in
cross-attention, and its cache is no plain tensor. Names are those of transformers, so that directories map by name.

Source: Li et al. 2022 (arXiv:2201.12086).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import BlipVisionModel

from vlp_models.families.blip_config import BlipConfig
from vlp_models.families.blip_pairs import PairBlock, PairStates, side_states
from vlp_models.families.blip_text import MedDecoder, MedModel
from vlp_models.layers.med_block import CrossContext, KeysValues
from vlp_models.layers.self_attention import key_mask_bias

_START_TEMPERATURE = 0.07


class BlipModel(nn.Module):
    """A BLIP with some of its heads.

    Attributes:
        config: see BlipConfig.
        vision_model: transformers' BlipVisionModel.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: BlipConfig) -> None:
        super().__init__()
        self.config = config
        self.vision_model = BlipVisionModel(config.hf.vision_config)
        width, vision_width = config.hf.text_config.hidden_size, config.hf.vision_config.hidden_size
        if config.has_encoder:
            self.text_encoder = MedModel(config, vision_width)
        if config.has_decoder:
            self.text_decoder = MedDecoder(config)
        if "match" in config.heads:
            self.vision_proj = nn.Linear(vision_width, config.dimension)
            self.text_proj = nn.Linear(width, config.dimension)
            self.itm_head = nn.Linear(width, 2)
            self.logit_scale = nn.Parameter(torch.tensor(-math.log(_START_TEMPERATURE)))
        if "reasoning" in config.heads:
            self.text_encoder.encoder["layer"] = nn.ModuleList(
                PairBlock(config, merges=index >= config.merged_from)
                for index in range(config.hf.text_config.num_hidden_layers)
            )
            self.cls_head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
        # Not persistent: they belong to the processor's file, not to the weights.
        self.register_buffer("pixel_mean", torch.tensor(config.pixel_mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(config.pixel_std).view(1, 3, 1, 1), persistent=False)

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Trade time for memory while training: text blocks are computed again in the backward pass."""
        for module in self.modules():
            if isinstance(module, MedModel):
                module.gradient_checkpointing = enabled

    def encode_image(self, pixels: Tensor) -> Tensor:
        """The states of pictures.

        Args:
            pixels: (B, H, W, 3) uint8 raw RGB, or (B, 3, H, W) float already normalised; H = W = config.image_size.

        Returns:
            (B, 1 + patches, vision width), the class token first.
        """
        if pixels.dtype == torch.uint8:
            scaled = pixels.permute(0, 3, 1, 2).to(self.pixel_mean.dtype) / 255
            pixels = (scaled - self.pixel_mean) / self.pixel_std
        states: Tensor = self.vision_model(pixel_values=pixels).last_hidden_state
        return states

    def image_embeds(self, states: Tensor) -> Tensor:
        """(B, dimension) of picture states, not normalised."""
        return self.vision_proj(states[:, 0])

    def text_embeds(self, input_ids: Tensor, text_mask: Tensor) -> Tensor:
        """(B, dimension) of texts (B, T) that begin with [CLS], not normalised."""
        hidden = self.text_encoder.encode(input_ids[:, None], text_mask[:, None])
        return self.text_proj(hidden[:, 0, 0])

    def fuse(self, input_ids: Tensor, text_mask: Tensor, cross: Sequence[KeysValues]) -> Tensor:
        """Read texts, (B, K, T) beginning with [ENC], in view of pictures; (B, K, T, D)."""
        return self.text_encoder.encode(input_ids, text_mask, cross)

    def itm_logits(self, input_ids: Tensor, text_mask: Tensor, cross: Sequence[KeysValues]) -> Tensor:
        """(B, K, 2), index 1 = the text belongs to the picture."""
        return self.itm_head(self.fuse(input_ids, text_mask, cross)[:, :, 0])

    def question_states(
        self, input_ids: Tensor, text_mask: Tensor, cross: Sequence[KeysValues]
    ) -> tuple[list[KeysValues], Tensor]:
        """What the decoder of a VQA model looks at.

        Returns:
            for each block keys and values (B, K, heads, T, D / heads), and the mask (B, K, T) bool.
        """
        return self.text_decoder.bert.cross_states(self.fuse(input_ids, text_mask, cross)), text_mask.to(torch.bool)

    def decode(self, input_ids: Tensor, cross: Sequence[KeysValues], cross_mask: Tensor | None = None) -> Tensor:
        """Logits of whole texts at once, as training wants them.

        Args:
            input_ids: (B, K, T) int, beginning with [DEC]; padding behind changes nothing before it.
            cross: for each block, (B, heads, S, D / heads).
            cross_mask: (B, S) bool; None where all of them count.

        Returns:
            (B, K, T, vocabulary).
        """
        bias = None if cross_mask is None else key_mask_bias(cross_mask, cross[0].keys.dtype)
        hidden, _ = self.text_decoder.bert.decode(input_ids, [CrossContext(states, bias) for states in cross])
        return self.text_decoder.logits(hidden)

    def side_states(self, states: Tensor, *, right: bool) -> list[KeysValues]:
        """What the blocks of an NLVR2 model look at in one of two pictures, (B, heads, S, D / heads) for each block."""
        return side_states(self.text_encoder.blocks, states, right=right)

    def reasoning_logits(
        self, input_ids: Tensor, text_mask: Tensor, left: Sequence[KeysValues], right: Sequence[KeysValues]
    ) -> Tensor:
        """(B, 2), index 1 = the statement (B, T), beginning with [ENC], is true of both pictures together."""
        pairs = [PairStates(*states) for states in zip(left, right, strict=True)]
        return self.cls_head(self.text_encoder.encode(input_ids[:, None], text_mask[:, None], pairs)[:, 0, 0])

    def forward(self, pixels: Tensor, input_ids: Tensor) -> Tensor:
        """Caption logits (B, T, vocabulary); wrappers such as DistributedDataParallel call this one."""
        cross = self.text_decoder.bert.cross_states(self.encode_image(pixels))
        return self.decode(input_ids[:, None], cross)[:, 0]
