"""ViLT: one transformer over text and linearly embedded picture patches.

The forward pass is deterministic and exports: patches stay in row-major order (the published code shuffles them,
which the text's outputs do not notice), and no shape depends on the data.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from vlp_spec.errors import InvalidArgumentError, TaskNotSupportedError

from vlp_models.families.vilt_config import ViltConfig
from vlp_models.layers.bert_text_embeddings import BertTextEmbeddings
from vlp_models.layers.heads import ItmHead, MlmHead, MlpClassifier
from vlp_models.layers.initialisation import init_truncated_normal
from vlp_models.layers.patch_transformer import PatchTransformer
from vlp_models.layers.pooler import Pooler


class ViltOutput(NamedTuple):
    """What the transformer gives; T text positions, N patch slots, width D."""

    text_feats: Tensor
    """(B, T, D), final norm applied."""
    image_feats: Tensor
    """(B, 1 + N, D): image CLS, patches in row-major order; zero where padded."""
    cls_feats: Tensor
    """(B, D): pooled text [CLS]; what the heads on a pair read."""
    raw_cls_feats: Tensor
    """(B, D): text [CLS] before the pooler."""
    image_mask: Tensor
    """(B, 1 + N) bool, True = image CLS or a real patch."""


class ViltModel(nn.Module):
    """ViLT with the heads that its configuration names.

    Parameter names are those of the published checkpoints, so weights map by name. A head's module may be applied
    to an output that is already there (`model.itm_score(output.cls_feats)`), which training with several
    objectives on one forward pass does; the `*_logits` methods do both steps.

    Source: Kim et al. 2021 (arXiv:2102.03334); names and sizes of dandelin/ViLT.
    """

    def __init__(self, config: ViltConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.text_embeddings = BertTextEmbeddings(
            config.vocab_size,
            config.max_text_len,
            width,
            layer_norm_eps=config.text_layer_norm_eps,
            dropout=config.dropout,
        )
        self.token_type_embeddings = nn.Embedding(config.num_token_types, width)
        self.transformer = PatchTransformer(
            width,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            patch_size=config.patch_size,
            grid_side=config.grid_side,
            mlp_ratio=config.mlp_ratio,
            layer_norm_eps=config.layer_norm_eps,
            dropout=config.dropout,
        )
        self.pooler = Pooler(width)
        self._add_heads(config)

    def _add_heads(self, config: ViltConfig) -> None:
        width, eps = config.hidden_size, config.head_layer_norm_eps
        if "vqa" in config.heads:
            self.vqa_classifier = MlpClassifier(width, 2 * width, config.num_labels, layer_norm_eps=eps)
        if "nlvr2" in config.heads:
            self.nlvr2_classifier = MlpClassifier(2 * width, 2 * width, 2, layer_norm_eps=eps)
        if "itm" in config.heads:
            self.itm_score = ItmHead(width)
        if "mlm" in config.heads:
            self.mlm_score = MlmHead(width, config.vocab_size, layer_norm_eps=config.text_layer_norm_eps)
        if "irtr" in config.heads:
            self.rank_output = nn.Linear(width, 1)

    def init_weights(self) -> None:
        """Initialise for training from scratch: truncated normal of 0.02; call it once, after construction."""
        self.apply(init_truncated_normal)
        nn.init.trunc_normal_(self.transformer.cls_token, std=0.02)
        nn.init.trunc_normal_(self.transformer.pos_embed, std=0.02)

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Trade time for memory while training: blocks are computed again in the backward pass."""
        self.transformer.gradient_checkpointing = enabled

    def embed_text(self, input_ids: Tensor) -> Tensor:
        """(B, T) int token ids to (B, T, D), modality embedding included."""
        if not torch.compiler.is_exporting() and input_ids.shape[1] > self.config.max_text_len:
            raise InvalidArgumentError(
                f"input_ids: got {input_ids.shape[1]} tokens, expected at most {self.config.max_text_len}; truncate",
                field="input_ids",
            )
        return self.text_embeddings(input_ids) + self.token_type_embeddings.weight[0]

    def embed_image(self, patches: Tensor, grid: Tensor, image_token_type: int = 1) -> tuple[Tensor, Tensor]:
        """Patches (B, N, P*P*3) and grid (B, 2) to embeds (B, 1 + N, D), modality included, and their mask."""
        embeds, mask = self.transformer.embed_image(patches, grid)
        return embeds + self.token_type_embeddings.weight[image_token_type], mask

    def fuse(self, text_embeds: Tensor, text_mask: Tensor, image_embeds: Tensor, image_mask: Tensor) -> ViltOutput:
        """Run the transformer over text and picture together; retrieval reuses a picture's embeds here.

        Args:
            text_embeds: (B, T, D) of `embed_text`.
            text_mask: (B, T) int or bool.
            image_embeds: (B, 1 + N, D) of `embed_image`.
            image_mask: (B, 1 + N) bool.
        """
        text_len = text_embeds.shape[1]
        key_mask = torch.cat([text_mask.to(torch.bool), image_mask], dim=1)
        hidden = self.transformer(torch.cat([text_embeds, image_embeds], dim=1), key_mask)
        text_feats, image_feats = hidden[:, :text_len], hidden[:, text_len:]
        image_feats = torch.where(image_mask[:, :, None], image_feats, torch.zeros_like(image_feats))
        return ViltOutput(text_feats, image_feats, self.pooler(text_feats), text_feats[:, 0], image_mask)

    def encode(
        self, patches: Tensor, grid: Tensor, input_ids: Tensor, text_mask: Tensor, image_token_type: int = 1
    ) -> ViltOutput:
        """Encode pictures with their texts.

        Args:
            patches: (B, N, P*P*3) uint8 raw RGB, or float normalised to [-1, 1]; pixels in the order row, column,
                channel; a picture's patches in row-major order, padding (any value) after them.
            grid: (B, 2) int32 or int64, valid rows and columns, at least 1 each.
            input_ids: (B, T) int32 or int64.
            text_mask: (B, T) int or bool, true = a token.
            image_token_type: modality row of the picture: 1, or 2 for the second picture of a pair.
        """
        image_embeds, image_mask = self.embed_image(patches, grid, image_token_type)
        return self.fuse(self.embed_text(input_ids), text_mask, image_embeds, image_mask)

    def forward(
        self, patches: Tensor, grid: Tensor, input_ids: Tensor, text_mask: Tensor, image_token_type: int = 1
    ) -> ViltOutput:
        """The same as `encode`; wrappers such as DistributedDataParallel call this one."""
        return self.encode(patches, grid, input_ids, text_mask, image_token_type)

    def vqa_logits(self, patches: Tensor, grid: Tensor, input_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Answer logits (B, labels)."""
        self.check_head("vqa")
        return self.vqa_classifier(self.encode(patches, grid, input_ids, text_mask).cls_feats)

    def nlvr2_logits(
        self, left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor], input_ids: Tensor, text_mask: Tensor
    ) -> Tensor:
        """Logits (B, 2) of a statement on two pictures, each given as (patches, grid); index 1 = true."""
        self.check_head("nlvr2")
        first = self.encode(left[0], left[1], input_ids, text_mask, 1)
        second = self.encode(right[0], right[1], input_ids, text_mask, 2)
        return self.nlvr2_classifier(torch.cat([first.cls_feats, second.cls_feats], dim=-1))

    def itm_logits(self, patches: Tensor, grid: Tensor, input_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Matching logits (B, 2); index 1 = the text belongs to the picture."""
        self.check_head("itm")
        return self.itm_score(self.encode(patches, grid, input_ids, text_mask).cls_feats)

    def mlm_logits(self, patches: Tensor, grid: Tensor, input_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Word logits (B, T, vocabulary)."""
        self.check_head("mlm")
        return self.mlm_score(self.encode(patches, grid, input_ids, text_mask).text_feats)

    def rank_scores(self, patches: Tensor, grid: Tensor, input_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Raw retrieval scores (B,): the higher, the better text and picture fit."""
        self.check_head("irtr")
        return self.rank_output(self.encode(patches, grid, input_ids, text_mask).cls_feats)[:, 0]

    def check_head(self, head: str) -> None:
        """Raise TaskNotSupportedError unless the model has `head`."""
        if head not in self.config.heads:
            raise TaskNotSupportedError(f"this model has no {head!r} head; it has: {', '.join(self.config.heads)}")
