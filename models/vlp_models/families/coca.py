"""CoCa: a picture and a text meet as two embeddings and as a caption, in one pass over either.

The first blocks of the text read it alone, word after word; a class token at its end gives the text's embedding. The
others look at the picture and say the next word. Built from BLIP's parts: transformers' ViT, and BERT's blocks.

Source: Yu et al. 2022 (arXiv:2205.01917). It publishes no weights, so that names and block details are our own: blocks
normalise after each part as BERT's do, and the ViT keeps its class token as one state among the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import BlipVisionModel

from vlp_models.families.blip_text import MedEmbeddings, MedModel, WordHead
from vlp_models.families.coca_config import CocaConfig
from vlp_models.layers.attentional_pooler import AttentionalPooler
from vlp_models.layers.med_block import CrossContext, KeysValues, MedBlock

_START_TEMPERATURE = 0.07


class CocaImage(NamedTuple):
    """What one pass over pictures gives."""

    embeds: Tensor
    """(B, dimension), not normalised."""
    states: Tensor
    """(B, Q, text width), what captions look at."""
    patches: Tensor
    """(B, 1 + patches, vision width), the class token first."""


class CocaText(MedModel):
    """The blocks of both halves; `decode` of them goes on with texts whose states were kept.

    Args:
        config: the model's.
    """

    def __init__(self, config: CocaConfig) -> None:
        nn.Module.__init__(self)
        self.gradient_checkpointing = False
        self.unimodal_layers = config.unimodal_layers
        self.embeddings = MedEmbeddings(config.parts)
        text = config.hf.text_config
        widths = [0] * config.unimodal_layers
        widths += [text.hidden_size] * (text.num_hidden_layers - config.unimodal_layers)
        blocks = [MedBlock(**config.parts.block_sizes(width)) for width in widths]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(blocks)})

    def cross_states(self, states: Tensor) -> list[KeysValues]:
        """Keys and values of each block that looks at a picture, for (B, Q, D); (B, heads, Q, D / heads) each."""
        return [block.crossattention["self"].keys_values(states) for block in self.blocks[self.unimodal_layers :]]  # type: ignore[union-attr, index, operator]

    def read(self, input_ids: Tensor) -> Tensor:
        """The unimodal half: (B, K, T) int to (B, K, T, D), each token seeing those before it and no picture."""
        positions = torch.arange(input_ids.shape[2], device=input_ids.device)[None, None]
        hidden = self.embeddings(input_ids, positions)
        bias = _causal_bias(hidden)
        for block in self.blocks[: self.unimodal_layers]:
            hidden = self._run(block, hidden, bias, None, None)[0]
        return hidden

    def look(self, hidden: Tensor, cross: Sequence[KeysValues]) -> Tensor:
        """The multimodal half: (B, K, T, D) of `read` to the same, in view of pictures."""
        bias = _causal_bias(hidden)
        for block, states in zip(self.blocks[self.unimodal_layers :], cross, strict=True):
            hidden = self._run(block, hidden, bias, None, CrossContext(states))[0]
        return hidden


class CocaModel(nn.Module):
    """A CoCa.

    Attributes:
        config: see CocaConfig.
        vision_model: transformers' BlipVisionModel.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: CocaConfig) -> None:
        super().__init__()
        self.config = config
        text, vision = config.hf.text_config, config.hf.vision_config
        self.vision_model = BlipVisionModel(vision)
        self.pooler = AttentionalPooler(
            1 + config.num_queries,
            text.hidden_size,
            vision.hidden_size,
            text.num_attention_heads,
            layer_norm_eps=vision.layer_norm_eps,
        )
        self.text = CocaText(config)
        self.cls = WordHead(config.parts)
        self.vision_proj = nn.Linear(text.hidden_size, config.dimension)
        self.text_proj = nn.Linear(text.hidden_size, config.dimension)
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(_START_TEMPERATURE)))
        self.set_pixels()

    def set_pixels(self) -> None:
        """Set the pictures' normalisation; the weights do not hold it."""
        parts = self.config.parts
        for name, values in (("pixel_mean", parts.pixel_mean), ("pixel_std", parts.pixel_std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Trade time for memory while training: text blocks are computed again in the backward pass."""
        self.text.gradient_checkpointing = enabled

    def encode_image(self, pixels: Tensor) -> CocaImage:
        """Pictures (B, H, W, 3) uint8 raw RGB, H = W = the model's image size."""
        scaled = pixels.permute(0, 3, 1, 2).to(self.pixel_mean.dtype) / 255
        patches = self.vision_model(pixel_values=(scaled - self.pixel_mean) / self.pixel_std).last_hidden_state
        pooled = self.pooler(patches)
        return CocaImage(self.vision_proj(pooled[:, 0]), pooled[:, 1:], patches)

    def read(self, input_ids: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Read texts alone, as captions begin and with the class token at their end.

        Args:
            input_ids: (B, T) int, [CLS] text [SEP] and padding, as a text processor gives it. The model reads
                [DEC] text [CLS]: what follows a text is the class token, and [SEP] is only ever said.
            text_mask: (B, T) int or bool, true = a token.

        Returns:
            hidden (B, T, D) of the unimodal half, and the texts' embeddings (B, dimension), not normalised.
        """
        tokens = self.config.parts.tokens
        last = text_mask.to(torch.int64).sum(dim=1) - 1
        rows = torch.arange(input_ids.shape[0], device=input_ids.device)
        ids = input_ids.clone()
        ids[rows, last] = tokens.cls
        ids[:, 0] = tokens.start
        hidden = self.text.read(ids[:, None])[:, 0]
        return hidden, self.text_proj(hidden[rows, last])

    def text_embeds(self, input_ids: Tensor, text_mask: Tensor) -> Tensor:
        """(B, dimension) of texts, not normalised; see `read`."""
        return self.read(input_ids, text_mask)[1]

    def say(self, hidden: Tensor, cross: Sequence[KeysValues]) -> Tensor:
        """(B, T, D) of `read` and `text.cross_states` to (B, T, D), from which `word_logits` says the next token."""
        return self.text.look(hidden[:, None], cross)[:, 0]

    def word_logits(self, hidden: Tensor) -> Tensor:
        """(..., D) to (..., vocabulary)."""
        return self.cls(hidden, self.text.embeddings.word_embeddings.weight)

    def decode(self, input_ids: Tensor, cross: Sequence[KeysValues]) -> Tensor:
        """Logits (B, K, T, vocabulary) of whole texts (B, K, T) that begin with [DEC]."""
        return self.word_logits(self.text.look(self.text.read(input_ids), cross))

    def forward(self, pixels: Tensor, input_ids: Tensor) -> Tensor:
        """Caption logits (B, T, vocabulary) of texts (B, T) that begin with [DEC]."""
        return self.decode(input_ids[:, None], self.text.cross_states(self.encode_image(pixels).states))[:, 0]


def _causal_bias(hidden: Tensor) -> Tensor:
    """(1, 1, 1, T, T) for (B, K, T, D): 0 up to the diagonal, minus infinity above it."""
    tokens = hidden.shape[2]
    blocked = torch.full((tokens, tokens), float("-inf"), dtype=hidden.dtype, device=hidden.device)
    return blocked.triu(1)[None, None, None]
