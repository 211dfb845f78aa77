"""CoCa under the training loop."""

from __future__ import annotations

from typing import cast

from torch import nn

from vlp_models.checkpoints.checkpoint import LoadedCheckpoint
from vlp_models.families.coca import CocaModel
from vlp_models.training.coca_initial_model import build_coca
from vlp_models.training.coca_losses import CocaLosses
from vlp_models.training.training_data import TrainingTexts
from vlp_models.training.writing_family import WritingFamily


class CocaFamily(WritingFamily):
    """See TrainingFamily."""

    def build_model(self, texts: TrainingTexts, source: LoadedCheckpoint | None) -> CocaModel:
        """See TrainingFamily."""
        model = build_coca(self.recipe, texts, source)
        model.set_gradient_checkpointing(self.recipe.compute.gradient_checkpointing)
        return model

    def build_losses(self, model: nn.Module, texts: TrainingTexts) -> CocaLosses:
        """See TrainingFamily."""
        return CocaLosses(cast(CocaModel, model), self.recipe.objectives)
