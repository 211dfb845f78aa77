"""A dual encoder's objectives in one place: batch arrays in, named losses and their weighted sum out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vlp_models.families.dual_encoder import DualEncoder
from vlp_models.objectives.contrastive import equal_groups
from vlp_models.objectives.region_words import region_words_loss
from vlp_models.training.contrastive_losses import ContrastiveLosses, best_is_own, gather_pairs
from vlp_models.training.dual_patches import ImageFeatures, encode_with_patches, project_patches
from vlp_models.training.losses import Batch, total_loss, words_among_best
from vlp_models.training.recipe_objectives import ItcRecipe, ObjectivesRecipe


class DualLosses(ContrastiveLosses):
    """A dual encoder with its objectives.

    Args:
        model: its temperature (and SigLIP's bias) is trained with it.
        objectives: which ones, and their weights.
    """

    model: DualEncoder
    head_prefixes = ("region_words.",)

    def __init__(self, model: DualEncoder, objectives: ObjectivesRecipe) -> None:
        super().__init__(model, objectives.itc, model.config.dimension)
        self.objectives = objectives
        if objectives.regions is not None:
            width = model.config.hf.vision_config.hidden_size
            self.region_words = nn.Linear(width, model.config.vocab_size)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See ObjectiveLosses; the one stream is that of vlp_models.data.pairs."""
        arrays = batch["pairs"]
        losses: dict[str, tuple[Tensor, float]] = {}
        metrics: dict[str, Tensor] = {"scale": self.model.logit_scale.detach().exp().reshape(())}
        features = encode_with_patches(self.model, arrays["pixels"])
        if self.objectives.itc is not None:
            losses["itc"] = (self._matching(self.objectives.itc, features, arrays, metrics), self.objectives.itc.weight)
        if self.objectives.regions is not None:
            losses["regions"] = (self._words(features, arrays, metrics), self.objectives.regions.weight)
        if self.objectives.phrases is not None:
            losses["phrases"] = (self._phrases(features, arrays, metrics), self.objectives.phrases.weight)
        return total_loss(losses, metrics)

    def embed(self, model: DualEncoder, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """See ContrastiveLosses."""
        return model.encode_image(arrays["pixels"]), model.encode_text(arrays["input_ids"], arrays["text_mask"])

    def _matching(
        self, itc: ItcRecipe, features: ImageFeatures, arrays: Mapping[str, Tensor], metrics: dict[str, Tensor]
    ) -> Tensor:
        text = self.model.encode_text(arrays["input_ids"], arrays["text_mask"])
        return self.contrast(itc, gather_pairs(features.embeds, text), arrays, metrics)

    def _words(self, features: ImageFeatures, arrays: Mapping[str, Tensor], metrics: dict[str, Tensor]) -> Tensor:
        middles = features.patches[arrays["region_rows"], arrays["region_slots"]]
        logits, words = self.region_words(middles).float(), arrays["region_words"]
        metrics["region_recall"] = words_among_best(logits, words)
        return region_words_loss(logits, words) * arrays["region_scale"]

    def _phrases(self, features: ImageFeatures, arrays: Mapping[str, Tensor], metrics: dict[str, Tensor]) -> Tensor:
        slots = arrays["phrase_slots"]
        rows = torch.arange(len(slots), device=slots.device) // (len(slots) // len(features.patches))
        patches = project_patches(self.model, features.patches[rows, slots])
        pairs = gather_pairs(patches, self.model.encode_text(arrays["phrase_ids"], arrays["phrase_mask"]))
        excluded = equal_groups(arrays["phrase_groups"][pairs.own], arrays["phrase_groups"])
        metrics["phrase_accuracy"] = best_is_own(pairs, excluded)
        return self.contrast_rows(pairs, excluded)
