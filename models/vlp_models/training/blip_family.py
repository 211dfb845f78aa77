"""BLIP under the training loop."""

from __future__ import annotations

from typing import cast

from torch import nn

from vlp_models.checkpoints.checkpoint import LoadedCheckpoint
from vlp_models.families.blip import BlipModel
from vlp_models.training.blip_initial_model import build_blip
from vlp_models.training.blip_losses import BlipLosses
from vlp_models.training.training_data import TrainingTexts
from vlp_models.training.writing_family import WritingFamily


class BlipFamily(WritingFamily):
    """See TrainingFamily."""

    def build_model(self, texts: TrainingTexts, source: LoadedCheckpoint | None) -> BlipModel:
        """See TrainingFamily."""
        model = build_blip(self.recipe, texts, source)
        model.set_gradient_checkpointing(self.recipe.compute.gradient_checkpointing)
        return model

    def build_losses(self, model: nn.Module, texts: TrainingTexts) -> BlipLosses:
        """See TrainingFamily."""
        blip = cast(BlipModel, model)
        return BlipLosses(blip, self.recipe.objectives, texts.words_of(blip.config.prompt))
