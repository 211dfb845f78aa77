"""What a model family gives the training loop; the loop itself knows none of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from accelerate import Accelerator
from torch import nn

from vlp_models.checkpoints.checkpoint import LoadedCheckpoint
from vlp_models.data.records import PictureRecord
from vlp_models.data.streams import BatchStream
from vlp_models.training.losses import ObjectiveLosses
from vlp_models.training.recipe import Recipe
from vlp_models.training.training_data import BatchPlace, TrainingTexts

Validate = Callable[[], Mapping[str, float]]

_FAMILIES = {
    "vilt": ("vlp_models.training.vilt_family", "ViltFamily"),
    "uniter": ("vlp_models.training.uniter_family", "UniterFamily"),
    "clip": ("vlp_models.training.dual_family", "DualFamily"),
    "siglip": ("vlp_models.training.dual_family", "DualFamily"),
    "blip": ("vlp_models.training.blip_family", "BlipFamily"),
    "coca": ("vlp_models.training.coca_family", "CocaFamily"),
}


class Split(Protocol):
    """A split, read: its records, and the pictures in a form that the family knows."""

    @property
    def name(self) -> str:
        """Of the split."""
        ...

    @property
    def records(self) -> tuple[PictureRecord, ...]:
        """Record i belongs to picture i."""
        ...


S = TypeVar("S", bound=Split)


class TrainingFamily(Protocol[S]):
    """A family under one recipe."""

    @property
    def image_settings(self) -> dict[str, Any]:
        """What the finished checkpoint says of its pictures; known once the splits are loaded."""
        ...

    def load_splits(self) -> tuple[S, S | None]:
        """Read the training split, and the evaluation split where the recipe wants it and it is there.

        Raises:
            ArtifactError: the data cannot be used.
        """
        ...

    def build_model(self, texts: TrainingTexts, source: LoadedCheckpoint | None) -> nn.Module:
        """The model that the run starts with: random, or `source`'s weights with what the objectives need besides.

        Raises:
            ArtifactError: `source` is of another family or shape.
        """
        ...

    def build_losses(self, model: nn.Module, texts: TrainingTexts) -> ObjectiveLosses:
        """The model with the recipe's objectives."""
        ...

    def build_streams(self, split: S, texts: TrainingTexts, place: BatchPlace) -> list[BatchStream]:
        """Where batches come from, one stream or several.

        Raises:
            ArtifactError: the split lacks what an objective needs.
        """
        ...

    def build_validation(
        self, losses: ObjectiveLosses, split: S, texts: TrainingTexts, accelerator: Accelerator
    ) -> Validate:
        """What measures the model on the evaluation split; called with the model in evaluation mode."""
        ...


def family_of(recipe: Recipe) -> TrainingFamily[Any]:
    """The recipe's family."""
    module, name = _FAMILIES[recipe.model.family]
    family: TrainingFamily[Any] = getattr(importlib.import_module(module), name)(recipe)
    return family
