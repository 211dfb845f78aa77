"""UNITER under the training loop: region features in place of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from accelerate import Accelerator
from torch import nn
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.checkpoint import LoadedCheckpoint
from vlp_models.data.faults import FaultCounter
from vlp_models.data.records import PictureRecord
from vlp_models.data.region_features import blind_regions, load_region_features
from vlp_models.data.sources import has_split, open_source
from vlp_models.data.streams import BatchStream
from vlp_models.families.uniter import UniterModel
from vlp_models.training.losses import ObjectiveLosses
from vlp_models.training.recipe import Recipe
from vlp_models.training.training_data import BatchPlace, TrainingTexts
from vlp_models.training.uniter_initial_model import adapt_uniter, build_uniter
from vlp_models.training.uniter_losses import UniterLosses
from vlp_models.training.uniter_streams import RegionSplit, build_uniter_streams, entailment_labels
from vlp_models.training.uniter_validation import UniterValidation

_NO_CLASSES = 2


class UniterFamily:
    """See TrainingFamily."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._region_size, self._num_classes = 0, _NO_CLASSES
        self._labels: tuple[str, ...] = ()

    @property
    def image_settings(self) -> dict[str, Any]:
        """See TrainingFamily; the extractor is named when the model is exported."""
        return {"type": "regions", "region_size": self._region_size, "max_regions": self._recipe.data.max_regions}

    def load_splits(self) -> tuple[RegionSplit, RegionSplit | None]:
        """See TrainingFamily."""
        data = self._recipe.data
        train = self._load(data.train_split, data.limit)
        features = train.pictures
        self._region_size = features.region_size
        if features.class_probabilities is not None:
            self._num_classes = features.class_probabilities.shape[1]
        if self._recipe.objectives.entailment is not None:
            self._labels = entailment_labels(train.records)
        if not self._recipe.evaluation.every or not has_split(Path(data.root), data.eval_split):
            return train, None
        return train, self._load(data.eval_split, self._recipe.evaluation.limit)

    def _load(self, split: str, limit: int) -> RegionSplit:
        data = self._recipe.data
        faults = FaultCounter(split)
        records: list[PictureRecord] = []
        for record in open_source(Path(data.root), split, data.format).read_records(faults):
            if limit and len(records) == limit:
                break
            records.append(record)
        faults.check(len(records))
        kept, features = load_region_features(Path(data.regions) / split, records, split, max_regions=data.max_regions)
        if self._recipe.image.blind:
            features = blind_regions(len(kept), features.region_size)
        return RegionSplit(split, kept, features)

    def build_model(self, texts: TrainingTexts, source: LoadedCheckpoint | None) -> UniterModel:
        """See TrainingFamily."""
        if source is None:
            model = build_uniter(
                self._recipe,
                texts.processor.vocab_size,
                region_size=self._region_size,
                num_region_classes=self._num_classes,
                num_labels=len(texts.labels),
                labels=self._labels,
            )
        elif isinstance(source.model, UniterModel):
            place, read = f"model.init {self._recipe.model.init}", source.model.config.region_size
            if read != self._region_size:
                raise ArtifactError(f"{place}: reads features of {read} numbers, data.regions has {self._region_size}")
            known = source.model.config.entailment_labels
            if set(known) == set(self._labels):  # in the order in which the head has learned them
                self._labels = known
            model = adapt_uniter(
                source.model,
                self._recipe,
                num_region_classes=self._num_classes,
                num_labels=len(texts.labels),
                labels=self._labels,
                same_answers=(source.labels or ()) == tuple(texts.labels),
            )
        else:
            raise ArtifactError(f'model.init {self._recipe.model.init}: no UNITER, which model.family = "uniter" needs')
        model.set_gradient_checkpointing(self._recipe.compute.gradient_checkpointing)
        return model

    def build_losses(self, model: nn.Module, texts: TrainingTexts) -> UniterLosses:
        """See TrainingFamily."""
        return UniterLosses(cast(UniterModel, model), self._recipe.objectives)

    def build_streams(self, split: RegionSplit, texts: TrainingTexts, place: BatchPlace) -> list[BatchStream]:
        """See TrainingFamily."""
        return build_uniter_streams(self._recipe, split, texts, place, self._labels)

    def build_validation(
        self, losses: ObjectiveLosses, split: RegionSplit, texts: TrainingTexts, accelerator: Accelerator
    ) -> UniterValidation:
        """See TrainingFamily."""
        return UniterValidation(cast(UniterLosses, losses), self.build_streams(split, texts, BatchPlace()), accelerator)
