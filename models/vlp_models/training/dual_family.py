"""Dual encoders, CLIP's and SigLIP's, under the training loop."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

from accelerate import Accelerator
from tokenizers import Tokenizer
from torch import nn
from vlp_pipeline.clip_image import ClipImageSettings
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.checkpoint import LoadedCheckpoint
from vlp_models.data.picture_loading import PictureSplit
from vlp_models.data.preparations import SquarePreparation
from vlp_models.data.streams import BatchStream
from vlp_models.families.dual_encoder import DualEncoder, build_dual_encoder
from vlp_models.families.dual_encoder_config import Kind
from vlp_models.training.dual_losses import DualLosses
from vlp_models.training.dual_streams import build_pair_stream
from vlp_models.training.dual_validation import DualValidation
from vlp_models.training.losses import ObjectiveLosses
from vlp_models.training.recipe import Recipe, TowersRecipe
from vlp_models.training.training_data import BatchPlace, TrainingTexts, load_splits

_PAD, _END = "[PAD]", "[SEP]"  # of the tokenizers that `build_tokenizer` makes


class DualFamily:
    """See TrainingFamily."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._towers = cast(TowersRecipe, recipe.model.towers)
        side = self._towers.image_size
        # Both sides are resized and nothing is cropped: what lies at the edge is named in the captions too.
        self.preparation = SquarePreparation(ClipImageSettings(side, side, resample=recipe.image.resample))

    @property
    def image_settings(self) -> dict[str, Any]:
        """See TrainingFamily."""
        return asdict(self.preparation.settings)

    def load_splits(self) -> tuple[PictureSplit, PictureSplit | None]:
        """See TrainingFamily."""
        return load_splits(self._recipe, self.preparation)

    def build_model(self, texts: TrainingTexts, source: LoadedCheckpoint | None) -> DualEncoder:
        """See TrainingFamily."""
        kind = cast(Kind, self._recipe.model.family)
        model = self._random(kind, texts) if source is None else self._checked(kind, source)
        model.set_gradient_checkpointing(self._recipe.compute.gradient_checkpointing)
        return model

    def _random(self, kind: Kind, texts: TrainingTexts) -> DualEncoder:
        tokenizer = Tokenizer.from_str(texts.tokenizer_json)
        pad, end = tokenizer.token_to_id(_PAD), tokenizer.token_to_id(_END)
        if pad is None or end is None:
            raise ArtifactError(f'tokenizer: has no {_PAD} or {_END}; use text.tokenizer = "build"')
        sizes = asdict(self._towers) | {
            "vocab_size": texts.vocab_size,
            "max_text_len": texts.max_length,
            "pad_id": pad,
            "eos_id": end,
        }
        return build_dual_encoder(kind, **sizes)

    def _checked(self, kind: Kind, source: LoadedCheckpoint) -> DualEncoder:
        place, model = f"model.init {self._recipe.model.init}", source.model
        if not isinstance(model, DualEncoder) or model.config.kind != kind:
            raise ArtifactError(f"{place}: no {kind} model, which model.family needs")
        if model.config.image_size != self._towers.image_size:
            raise ArtifactError(
                f"model.towers.image_size: got {self._towers.image_size}, {place} sees {model.config.image_size} pixels"
            )
        return model

    def build_losses(self, model: nn.Module, texts: TrainingTexts) -> DualLosses:
        """See TrainingFamily."""
        return DualLosses(cast(DualEncoder, model), self._recipe.objectives)

    def build_streams(self, split: PictureSplit, texts: TrainingTexts, place: BatchPlace) -> list[BatchStream]:
        """See TrainingFamily."""
        return [build_pair_stream(self._recipe, split, texts, place)]

    def build_validation(
        self, losses: ObjectiveLosses, split: PictureSplit, texts: TrainingTexts, accelerator: Accelerator
    ) -> DualValidation:
        """See TrainingFamily."""
        model = cast(DualEncoder, losses.model)
        return DualValidation(model, split, texts, accelerator, 2 * self._recipe.optimisation.batch_size)
