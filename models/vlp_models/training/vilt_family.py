"""ViLT under the training loop."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import nn
from vlp_pipeline.vilt_image import ViltImageSettings
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.checkpoint import LoadedCheckpoint
from vlp_models.data.picture_loading import PictureSplit
from vlp_models.data.preparations import ViltPreparation
from vlp_models.data.streams import BatchStream
from vlp_models.families.vilt import ViltModel
from vlp_models.training.losses import ObjectiveLosses
from vlp_models.training.recipe import Recipe
from vlp_models.training.training_data import BatchPlace, TrainingTexts, load_splits
from vlp_models.training.vilt_initial_model import adapt_vilt, build_vilt
from vlp_models.training.vilt_losses import ViltLosses
from vlp_models.training.vilt_streams import build_vilt_streams
from vlp_models.training.vilt_validation import ViltValidation


class ViltFamily:
    """See TrainingFamily."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        image = recipe.image
        self.preparation = ViltPreparation(
            ViltImageSettings(
                image.shorter_edge, image.longer_edge, image.size_divisor, image.patch_size, image.resample
            )
        )

    @property
    def image_settings(self) -> dict[str, Any]:
        """See TrainingFamily."""
        return asdict(self.preparation.settings)

    def load_splits(self) -> tuple[PictureSplit, PictureSplit | None]:
        """See TrainingFamily."""
        return load_splits(self._recipe, self.preparation)

    def build_model(self, texts: TrainingTexts, source: LoadedCheckpoint | None) -> ViltModel:
        """See TrainingFamily."""
        if source is None:
            model = build_vilt(self._recipe, texts.processor.vocab_size, len(texts.labels))
        elif isinstance(source.model, ViltModel):
            model = adapt_vilt(source.model, self._recipe, len(texts.labels))
        else:
            raise ArtifactError(f'model.init {self._recipe.model.init}: no ViLT, which model.family = "vilt" needs')
        model.set_gradient_checkpointing(self._recipe.compute.gradient_checkpointing)
        return model

    def build_losses(self, model: nn.Module, texts: TrainingTexts) -> ViltLosses:
        """See TrainingFamily."""
        objectives = self._recipe.objectives
        words = torch.from_numpy(texts.label_words) if objectives.vqa is not None else None
        return ViltLosses(cast(ViltModel, model), objectives, words)

    def build_streams(self, split: PictureSplit, texts: TrainingTexts, place: BatchPlace) -> list[BatchStream]:
        """See TrainingFamily."""
        return build_vilt_streams(self._recipe, split, texts, place)

    def build_validation(
        self, losses: ObjectiveLosses, split: PictureSplit, texts: TrainingTexts, accelerator: Accelerator
    ) -> ViltValidation:
        """See TrainingFamily."""
        return ViltValidation(self._recipe, cast(ViltLosses, losses), split, texts, accelerator)
