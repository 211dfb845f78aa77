"""UNITER's transformer over a text and the regions that a detector found in a picture.

The published code moves each text and its regions together before the transformer. Here both keep their slots and a
mask says which are filled: positions are in the embeddings, so the gap changes nothing, and no shape depends on data.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from vlp_spec.errors import InvalidArgumentError

from vlp_models.families.uniter_config import UniterConfig
from vlp_models.layers.pooler import Pooler
from vlp_models.layers.post_norm_encoder import PostNormEncoder
from vlp_models.layers.region_embeddings import POSITION_SIZE, RegionEmbeddings
from vlp_models.layers.uniter_text_embeddings import UniterTextEmbeddings

IMAGE_TYPE, SECOND_IMAGE_TYPE = 1, 2
"""Token types of a picture's regions, and of those of the second of two pictures."""


class UniterOutput(NamedTuple):
    """What the transformer gives; T text slots, R region slots, width D."""

    text_feats: Tensor
    """(B, T, D)."""
    region_feats: Tensor
    """(B, R, D); zero where padded."""
    cls_feats: Tensor
    """(B, D): pooled text [CLS]; what most heads read."""
    raw_cls_feats: Tensor
    """(B, D): text [CLS] before the pooler."""
    text_mask: Tensor
    """(B, T) bool, True = a token."""
    region_mask: Tensor
    """(B, R) bool, True = a region."""


class UniterBackbone(nn.Module):
    """The parts under the published prefix `uniter.`.

    Source: Chen et al. 2020 (arXiv:1909.11740), sec. 3.1; names of ChenRocks/UNITER.
    """

    def __init__(self, config: UniterConfig) -> None:
        super().__init__()
        width, eps, dropout = config.hidden_size, config.layer_norm_eps, config.dropout
        self.max_positions, self.region_size = config.max_positions, config.region_size
        self.embeddings = UniterTextEmbeddings(
            config.vocab_size,
            config.max_positions,
            width,
            num_token_types=config.num_token_types,
            layer_norm_eps=eps,
            dropout=dropout,
        )
        self.img_embeddings = RegionEmbeddings(config.region_size, width, layer_norm_eps=eps, dropout=dropout)
        self.encoder = PostNormEncoder(
            width,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            intermediate_size=config.intermediate_size,
            layer_norm_eps=eps,
            dropout=dropout,
            attention_dropout=config.attention_dropout,
        )
        self.pooler = Pooler(width)

    def embed_text(self, input_ids: Tensor, text_types: Tensor | None = None) -> Tensor:
        """(B, T) int token ids to (B, T, D); text_types (B, T) int, all 0 where None is given.

        Raises:
            InvalidArgumentError: more tokens than positions; the published model has 512 and never cuts a text.
        """
        if not torch.compiler.is_exporting() and input_ids.shape[1] > self.max_positions:
            raise InvalidArgumentError(
                f"input_ids: got {input_ids.shape[1]} tokens, expected at most {self.max_positions}; shorten the text",
                field="input_ids",
            )
        return self.embeddings(input_ids, text_types)

    def embed_regions(
        self,
        region_features: Tensor,
        region_positions: Tensor,
        region_mask: Tensor,
        region_types: Tensor | None = None,
        region_masked: Tensor | None = None,
    ) -> Tensor:
        """Regions to (B, R, D); the arguments are those of `UniterModel.encode`.

        Raises:
            InvalidArgumentError: features or positions of another width.
        """
        if not torch.compiler.is_exporting():
            _check_width("region_features", region_features, self.region_size)
            _check_width("region_positions", region_positions, POSITION_SIZE)
        valid = region_mask.to(torch.bool)[:, :, None]
        # Attention takes nothing from padding, but 0 times NaN is NaN.
        region_features = torch.where(valid, region_features, torch.zeros_like(region_features))
        region_positions = torch.where(valid, region_positions, torch.zeros_like(region_positions))
        type_embeds = self.embeddings.type_embeds(region_types, default=IMAGE_TYPE)
        return self.img_embeddings(region_features, region_positions, type_embeds, region_masked)

    def fuse(self, text_embeds: Tensor, text_mask: Tensor, region_embeds: Tensor, region_mask: Tensor) -> UniterOutput:
        """Run the transformer over text and regions together; retrieval reuses a picture's embeds here.

        Args:
            text_embeds: (B, T, D) of `embed_text`.
            text_mask: (B, T) int or bool, the first of each row true.
            region_embeds: (B, R, D) of `embed_regions`.
            region_mask: (B, R) int or bool.
        """
        text_len = text_embeds.shape[1]
        text_mask, region_mask = text_mask.to(torch.bool), region_mask.to(torch.bool)
        key_mask = torch.cat([text_mask, region_mask], dim=1)
        hidden = self.encoder(torch.cat([text_embeds, region_embeds], dim=1), key_mask)
        text_feats, region_feats = hidden[:, :text_len], hidden[:, text_len:]
        region_feats = torch.where(region_mask[:, :, None], region_feats, torch.zeros_like(region_feats))
        return UniterOutput(text_feats, region_feats, self.pooler(text_feats), text_feats[:, 0], text_mask, region_mask)


def _check_width(name: str, array: Tensor, width: int) -> None:
    if array.ndim != 3 or array.shape[2] != width:
        raise InvalidArgumentError(
            f"{name}: got shape {list(array.shape)}, expected (batch, regions, {width})", field=name
        )
