"""BLIP's objectives in one place: batch arrays in, named losses and their weighted sum out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vlp_models.families.blip import BlipModel
from vlp_models.layers.med_block import CrossContext
from vlp_models.objectives.language_modelling import next_tokens
from vlp_models.training.blip_matching import draw_negatives, matching_loss
from vlp_models.training.contrastive_losses import excluded_pairs, gather_pairs
from vlp_models.training.losses import Batch, Weighted, total_loss
from vlp_models.training.recipe_objectives import LmRecipe, ObjectivesRecipe
from vlp_models.training.writing_losses import Say, WritingLosses


class BlipLosses(WritingLosses):
    """A BLIP with its objectives.

    Args:
        model: its temperature is trained with it.
        objectives: which ones, and their weights.
        prompt_ids: see WritingLosses.

    Source: Li et al. 2022 (arXiv:2201.12086), sec. 3.2.
    """

    model: BlipModel

    def __init__(self, model: BlipModel, objectives: ObjectivesRecipe, prompt_ids: tuple[int, ...] = ()) -> None:
        super().__init__(model, model.config, objectives, prompt_ids)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See ObjectiveLosses; the one stream is that of vlp_models.data.pairs."""
        arrays = batch["pairs"]
        losses: Weighted = {}
        metrics: dict[str, Tensor] = {}
        states = self.model.encode_image(arrays["pixels"])
        lm, regions = self.objectives.lm, self.objectives.regions
        if lm is not None:
            losses["lm"] = (self._say(lm, states, arrays, metrics), lm.weight)
        if regions is not None:
            losses["regions"] = (self.region_loss(states[:, 1:], arrays, metrics), regions.weight)
        if self.objectives.itc is not None or self.objectives.itm is not None:
            self._match(states, arrays, losses, metrics)
        return total_loss(losses, metrics)

    def embed(self, model: BlipModel, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See ContrastiveLosses."""
        image = model.image_embeds(model.encode_image(arrays["pixels"]))
        return image, model.text_embeds(arrays["input_ids"], arrays["text_mask"])

    def look_at(self, pixels: Tensor) -> Say:
        """See WritingLosses."""
        cross = self.model.text_decoder.bert.cross_states(self.model.encode_image(pixels))
        return lambda ids: self.model.decode(ids[:, None], cross)[:, 0]

    def _say(
        self, recipe: LmRecipe, states: Tensor, arrays: Mapping[str, Tensor], metrics: dict[str, Tensor]
    ) -> Tensor:
        decoder = self.model.text_decoder
        cross = [CrossContext(own) for own in decoder.bert.cross_states(states)]
        read, said, is_said = next_tokens(*self._written(arrays), len(self.given))
        hidden, _ = decoder.bert.decode(read[:, None], cross)
        # The word head is wide: only the tokens that are to be said go through it.
        logits = decoder.logits(hidden[:, 0][is_said])
        return self.caption_loss(recipe, logits, said[is_said], arrays["word_scale"], metrics)

    def _written(self, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """[DEC] and the prompt in place of [CLS], (B, T') with its mask; what has no position is cut off."""
        input_ids, text_mask = arrays["input_ids"], arrays["text_mask"]
        given = self.given.to(input_ids.dtype).expand(len(input_ids), -1)
        written = torch.cat([given, input_ids[:, 1:]], dim=1)
        mask = torch.cat([torch.ones_like(given), text_mask[:, 1:]], dim=1)
        most = self.model.config.max_positions + 1  # the last one is said and not read
        return written[:, :most], mask[:, :most]

    def _match(
        self, states: Tensor, arrays: Mapping[str, Tensor], losses: Weighted, metrics: dict[str, Tensor]
    ) -> None:
        itc, itm = self.objectives.itc, self.objectives.itm
        text = self.model.text_embeds(arrays["input_ids"], arrays["text_mask"])
        pairs = gather_pairs(self.model.image_embeds(states), text)
        if itc is not None:
            losses["itc"] = (self.contrast(itc, pairs, arrays, metrics), itc.weight)
        if itm is None or "false_rows" not in arrays:
            return
        similarities = self.model.logit_scale.float().exp() * (pairs.image @ pairs.text.T)
        if itm.negatives == "random":
            similarities = torch.zeros_like(similarities)
        negatives = draw_negatives(similarities, excluded_pairs(pairs.own, arrays)[:, pairs.own])
        losses["itm"] = (matching_loss(self.model, states, arrays, negatives, metrics), itm.weight)
