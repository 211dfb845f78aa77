"""The result of a run: a checkpoint directory that export, evaluation and further training read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from vlp_models.families.vilt import ViltModel
from vlp_models.training.recipe import Recipe
from vlp_models.training.training_data import TrainingTexts, image_settings


def write_final(folder: Path, model: ViltModel, recipe: Recipe, texts: TrainingTexts) -> None:
    """Write config.json, model.safetensors, tokenizer.json and preprocessor_config.json.

    Args:
        folder: made where it lacks.
        model: with the result's weights.
        recipe: its image settings.
        texts: tokenizer and answers.
    """
    from vlp_models.checkpoints import save_checkpoint

    save_checkpoint(
        folder,
        model,
        tokenizer=texts.tokenizer_json,
        labels=texts.labels or None,
        image=asdict(image_settings(recipe)),
    )
