"""The result of a run: a checkpoint directory that export, evaluation and further training read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlp_models.training.family import TrainingFamily
from vlp_models.training.training_data import TrainingTexts


def write_final(folder: Path, model: Any, family: TrainingFamily[Any], texts: TrainingTexts) -> None:
    """Write config.json, model.safetensors, tokenizer.json and preprocessor_config.json.

    Args:
        folder: made where it lacks.
        model: a family's, with the result's weights.
        family: its image settings.
        texts: tokenizer and answers.
    """
    from vlp_models.checkpoints import save_checkpoint

    save_checkpoint(
        folder,
        model,
        tokenizer=texts.tokenizer_json,
        labels=texts.labels or None,
        image=family.image_settings,
    )
