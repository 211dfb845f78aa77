"""UNITER: one BERT over a text and the regions of a picture, with the heads of its tasks and of its pre-training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vlp_spec.errors import TaskNotSupportedError

from vlp_models.families.uniter_backbone import IMAGE_TYPE, SECOND_IMAGE_TYPE, UniterBackbone, UniterOutput
from vlp_models.families.uniter_config import UniterConfig
from vlp_models.layers.initialisation import init_truncated_normal
from vlp_models.layers.paired_attention import AttentionPooling, CrossAttention
from vlp_models.layers.self_attention import key_mask_bias
from vlp_models.layers.uniter_heads import NormalisedClassifier, RegionClassHead, RegionFeatureHead, TiedMlmHead

Regions = tuple[Tensor, Tensor, Tensor]
"""The regions of a batch of pictures: features (B, R, F), positions (B, R, 7), mask (B, R), as `encode` takes them."""


class UniterModel(nn.Module):
    """UNITER with the heads that its configuration names.

    Parameter names are those of the published checkpoints, with two exceptions. The decoder of "mlm" and the last map
    of "mrfr" are tied to the embeddings and are not stored a second time. The head "entailment" is called
    `entailment_output`: published files call it `vqa_output`, as they do the VQA head, and a model could not have
    both.

    The methods named after heads take the first five arguments of `encode`. A head's module may also be applied to an
    output that is already there (`model.itm_output(output.cls_feats)`), which training with several objectives on one
    forward pass does.

    Source: Chen et al. 2020 (arXiv:1909.11740); names and sizes of ChenRocks/UNITER.
    """

    def __init__(self, config: UniterConfig) -> None:
        super().__init__()
        self.config = config
        self.uniter = UniterBackbone(config)
        self._add_heads(config)
        self._add_pretraining_heads(config)
        if "nlvr2" in config.heads:
            self._add_pair_head(config)

    def _add_heads(self, config: UniterConfig) -> None:
        width, eps = config.hidden_size, config.layer_norm_eps
        if "vqa" in config.heads:
            self.vqa_output = NormalisedClassifier(width, 2 * width, config.num_labels, layer_norm_eps=eps)
        if "entailment" in config.heads:
            labels = len(config.entailment_labels)
            self.entailment_output = NormalisedClassifier(width, 2 * width, labels, layer_norm_eps=eps)
        if "itm" in config.heads:
            self.itm_output = nn.Linear(width, 2)
        if "rank" in config.heads:
            self.rank_output = nn.Linear(width, 1)
        if "grounding" in config.heads:
            self.re_output = nn.Linear(width, 1)
        if "vcr" in config.heads:
            self.vcr_output = NormalisedClassifier(width, 2 * width, 2, layer_norm_eps=eps, activation=nn.ReLU())

    def _add_pretraining_heads(self, config: UniterConfig) -> None:
        width, eps = config.hidden_size, config.layer_norm_eps
        if "mlm" in config.heads:
            self.cls = nn.ModuleDict({"predictions": TiedMlmHead(width, config.vocab_size, layer_norm_eps=eps)})
        if "mrfr" in config.heads:
            self.feat_regress = RegionFeatureHead(width, config.region_size, layer_norm_eps=eps)
        if "mrc" in config.heads:
            self.region_classifier = RegionClassHead(width, config.num_region_classes, layer_norm_eps=eps)

    def _add_pair_head(self, config: UniterConfig) -> None:
        width = config.hidden_size
        if config.nlvr2_variant == "paired-attn":
            self.attn1 = CrossAttention(width, config.num_heads, attention_dropout=config.attention_dropout)
            self.attn2 = CrossAttention(width, config.num_heads, attention_dropout=config.attention_dropout)
            self.fc = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Dropout(config.dropout))
            self.attn_pool = AttentionPooling(width, dropout=config.attention_dropout)
        self.nlvr2_output = nn.Linear(width if config.nlvr2_variant == "triplet" else 2 * width, 2)

    def init_weights(self) -> None:
        """Initialise for training from scratch: truncated normal of 0.02; call it once, after construction."""
        self.apply(init_truncated_normal)
        nn.init.zeros_(self.uniter.img_embeddings.mask_embedding.weight.data[0])

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Trade time for memory while training: blocks are computed again in the backward pass."""
        self.uniter.encoder.gradient_checkpointing = enabled

    def encode(
        self,
        input_ids: Tensor,
        text_mask: Tensor,
        region_features: Tensor,
        region_positions: Tensor,
        region_mask: Tensor,
        *,
        text_types: Tensor | None = None,
        region_types: Tensor | None = None,
        region_masked: Tensor | None = None,
    ) -> UniterOutput:
        """Encode texts with the regions of their pictures.

        Args:
            input_ids: (B, T) int32 or int64, [CLS] words [SEP], then padding of any known id.
            text_mask: (B, T) int or bool, true = a token.
            region_features: (B, R, F) float, any precision; padding may hold anything.
            region_positions: (B, R, 7) float: x1, y1, x2, y2, width, height as shares of the picture's sides, and
                width * height; padding may hold anything.
            region_mask: (B, R) int or bool, true = a region; their order does not matter.
            text_types: (B, T) int, the token type of each token; None: 0. For VCR: question 0, answer 2, rationale 3.
            region_types: (B, R) int; None: 1. The second picture of a pair: 2.
            region_masked: (B, R) bool, true = the features are hidden, for masked region modelling.

        Raises:
            InvalidArgumentError: more tokens than positions, or features or positions of another width.
        """
        text_embeds = self.uniter.embed_text(input_ids, text_types)
        region_embeds = self.uniter.embed_regions(
            region_features, region_positions, region_mask, region_types, region_masked
        )
        return self.uniter.fuse(text_embeds, text_mask, region_embeds, region_mask)

    forward = encode
    """The same; wrappers such as DistributedDataParallel call this one."""

    def vqa_logits(self, input_ids: Tensor, text_mask: Tensor, *regions: Tensor) -> Tensor:
        """Answer logits (B, labels)."""
        self.check_head("vqa")
        return self.vqa_output(self.encode(input_ids, text_mask, *regions).cls_feats)

    def entailment_logits(self, input_ids: Tensor, text_mask: Tensor, *regions: Tensor) -> Tensor:
        """Logits (B, labels) of what a hypothesis is to a picture, in the order of `config.entailment_labels`."""
        self.check_head("entailment")
        return self.entailment_output(self.encode(input_ids, text_mask, *regions).cls_feats)

    def itm_logits(self, input_ids: Tensor, text_mask: Tensor, *regions: Tensor) -> Tensor:
        """Matching logits (B, 2); index 1 = the text belongs to the picture."""
        self.check_head("itm")
        return self.itm_output(self.encode(input_ids, text_mask, *regions).cls_feats)

    def rank_scores(self, input_ids: Tensor, text_mask: Tensor, *regions: Tensor) -> Tensor:
        """Raw retrieval scores (B,): the higher, the better text and picture fit."""
        self.check_head("rank")
        return self.rank_output(self.encode(input_ids, text_mask, *regions).cls_feats)[:, 0]

    def zero_shot_rank_scores(self, input_ids: Tensor, text_mask: Tensor, *regions: Tensor) -> Tensor:
        """Retrieval scores (B,) of a model that was not trained for retrieval: the matching head's logit for a match.

        Source: ChenRocks/UNITER, which starts the ranking head from this row.
        """
        return self.itm_logits(input_ids, text_mask, *regions)[:, 1]

    def grounding_scores(self, input_ids: Tensor, text_mask: Tensor, *regions: Tensor) -> Tensor:
        """Scores (B, R) of regions for a referring expression: minus infinity where padded, softmax over the rest."""
        self.check_head("grounding")
        output = self.encode(input_ids, text_mask, *regions)
        return self.re_output(output.region_feats)[:, :, 0].masked_fill(~output.region_mask, float("-inf"))

    def vcr_logits(self, input_ids: Tensor, text_mask: Tensor, *regions: Tensor, text_types: Tensor) -> Tensor:
        """Logits (B, 2) of an answer or a rationale; index 1 = the right one. Texts need their token types."""
        self.check_head("vcr")
        return self.vcr_output(self.encode(input_ids, text_mask, *regions, text_types=text_types).cls_feats)

    def vcr_scores(self, input_ids: Tensor, text_mask: Tensor, *regions: Tensor, text_types: Tensor) -> Tensor:
        """Scores (B,) by which the choices of a question are ranked."""
        return self.vcr_logits(input_ids, text_mask, *regions, text_types=text_types)[:, 1]

    def nlvr2_logits(self, input_ids: Tensor, text_mask: Tensor, left: Regions, right: Regions) -> Tensor:
        """Logits (B, 2) of a statement on two pictures, which may have different numbers of slots; index 1 = true."""
        self.check_head("nlvr2")
        second_type = SECOND_IMAGE_TYPE if self.config.second_image_type else IMAGE_TYPE
        second_types = torch.full_like(right[2], second_type, dtype=torch.int64)
        if self.config.nlvr2_variant == "triplet":
            first_types = torch.full_like(left[2], IMAGE_TYPE, dtype=torch.int64)
            features, positions, mask = (torch.cat(pair, dim=1) for pair in zip(left, right, strict=True))
            types = torch.cat([first_types, second_types], dim=1)
            output = self.encode(input_ids, text_mask, features, positions, mask, region_types=types)
            return self.nlvr2_output(output.cls_feats)
        first = self.encode(input_ids, text_mask, *left)
        second = self.encode(input_ids, text_mask, *right, region_types=second_types)
        if self.config.nlvr2_variant == "paired":
            return self.nlvr2_output(torch.cat([first.cls_feats, second.cls_feats], dim=1))
        return self._attend_in_pair(first, second)

    def _attend_in_pair(self, first: UniterOutput, second: UniterOutput) -> Tensor:
        """Each of two passes attends to the other one, and both are pooled: "pair-biattn" in the paper's table 5."""
        sequences = [torch.cat([output.text_feats, output.region_feats], dim=1) for output in (first, second)]
        masks = [torch.cat([output.text_mask, output.region_mask], dim=1) for output in (first, second)]
        biases = [key_mask_bias(mask, sequences[0].dtype) for mask in masks]
        attended = (
            self.attn1(sequences[0], sequences[1], biases[1]),
            self.attn2(sequences[1], sequences[0], biases[0]),
        )
        pooled = [
            self.attn_pool(self.fc(torch.cat([found, own], dim=2)), mask)
            for found, own, mask in zip(attended, sequences, masks, strict=True)
        ]
        return self.nlvr2_output(torch.cat(pooled, dim=1))

    def decode_words(self, text_feats: Tensor) -> Tensor:
        """(..., D) of text to word logits (..., vocabulary); training passes the masked positions alone."""
        self.check_head("mlm")
        return self.cls["predictions"](text_feats, self.uniter.embeddings.word_embeddings.weight)

    def regress_features(self, region_feats: Tensor) -> Tensor:
        """(..., D) of masked regions to their features (..., F)."""
        self.check_head("mrfr")
        return self.feat_regress(region_feats, self.uniter.img_embeddings.img_linear.weight)

    def classify_regions(self, region_feats: Tensor) -> Tensor:
        """(..., D) of masked regions to logits (..., classes) of the detector's classes; index 0 = background."""
        self.check_head("mrc")
        return self.region_classifier(region_feats)

    def mlm_logits(self, input_ids: Tensor, text_mask: Tensor, *regions: Tensor) -> Tensor:
        """Word logits (B, T, vocabulary)."""
        return self.decode_words(self.encode(input_ids, text_mask, *regions).text_feats)

    def check_head(self, head: str) -> None:
        """Raise TaskNotSupportedError unless the model has `head`."""
        if head not in self.config.heads:
            raise TaskNotSupportedError(f"this model has no {head!r} head; it has: {', '.join(self.config.heads)}")
