"""Families that write captions under the training loop: what BLIP and CoCa have in common."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

from accelerate import Accelerator
from vlp_pipeline.clip_image import ClipImageSettings

from vlp_models.data.picture_loading import PictureSplit
from vlp_models.data.preparations import SquarePreparation
from vlp_models.data.streams import BatchStream
from vlp_models.training.dual_streams import build_pair_stream
from vlp_models.training.losses import ObjectiveLosses
from vlp_models.training.recipe import Recipe, TowersRecipe
from vlp_models.training.training_data import BatchPlace, TrainingTexts, load_splits
from vlp_models.training.writing_losses import WritingLosses
from vlp_models.training.writing_validation import WritingValidation


class WritingFamily:
    """Pictures, batches and validation; see TrainingFamily."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        side = cast(TowersRecipe, recipe.model.towers).image_size
        # Both sides are resized and nothing is cropped: what lies at the edge is named in the captions too.
        self.preparation = SquarePreparation(ClipImageSettings(side, side, resample=recipe.image.resample))

    @property
    def image_settings(self) -> dict[str, Any]:
        """See TrainingFamily."""
        return asdict(self.preparation.settings)

    def load_splits(self) -> tuple[PictureSplit, PictureSplit | None]:
        """See TrainingFamily."""
        return load_splits(self.recipe, self.preparation)

    def build_streams(self, split: PictureSplit, texts: TrainingTexts, place: BatchPlace) -> list[BatchStream]:
        """See TrainingFamily."""
        return [build_pair_stream(self.recipe, split, texts, place)]

    def build_validation(
        self, losses: ObjectiveLosses, split: PictureSplit, texts: TrainingTexts, accelerator: Accelerator
    ) -> WritingValidation:
        """See TrainingFamily."""
        stream = build_pair_stream(self.recipe, split, texts, BatchPlace(), is_training=False)
        return WritingValidation(
            cast(WritingLosses, losses),
            split,
            stream,
            texts=texts,
            accelerator=accelerator,
            batch_size=2 * self.recipe.optimisation.batch_size,
        )
