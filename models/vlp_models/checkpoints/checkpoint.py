"""A checkpoint in memory: a model and all that is needed to use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlp_spec.errors import ArtifactError

from vlp_models.families.dual_encoder import DualEncoder
from vlp_models.families.dual_encoder_config import DualEncoderConfig
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig


@dataclass(frozen=True, eq=False)
class LoadedCheckpoint:
    """What `load_checkpoint` gives.

    Attributes:
        model: float32, in evaluation mode, on the CPU.
        tokenizer: content of tokenizer.json.
        labels: VQA answers, index = logit; None where the model has no VQA head.
        image: settings of the image processor, the form of `Deployment.image`.
        source: where it came from: a path, or hub id@revision.
    """

    model: ViltModel | DualEncoder
    tokenizer: str
    labels: tuple[str, ...] | None
    image: Mapping[str, Any]
    source: str

    @property
    def config(self) -> ViltConfig | DualEncoderConfig:
        """The model's configuration."""
        return self.model.config

    @property
    def text(self) -> dict[str, Any]:
        """Settings of the text processor, the form of `Deployment.text`."""
        config = self.config
        if isinstance(config, ViltConfig):
            return {"type": "bert", "max_length": config.max_text_len}
        return {
            "type": "clip",
            "max_length": config.max_text_len,
            "pad_id": config.pad_id,
            "fixed": config.fixed_text,
        }

    @property
    def vilt(self) -> ViltModel:
        """The model, where it is a ViLT.

        Raises:
            ArtifactError: it is of another family.
        """
        if not isinstance(self.model, ViltModel):
            raise ArtifactError(f"{self.source}: a dual encoder, expected a ViLT checkpoint")
        return self.model

    @property
    def dual_encoder(self) -> DualEncoder:
        """The model, where it is a dual encoder.

        Raises:
            ArtifactError: it is of another family.
        """
        if not isinstance(self.model, DualEncoder):
            raise ArtifactError(f"{self.source}: a ViLT checkpoint, expected a dual encoder (CLIP or SigLIP)")
        return self.model


@dataclass(frozen=True)
class GivenFiles:
    """What a person names beside a checkpoint, because it lacks it or to use another.

    Attributes:
        tokenizer: tokenizer.json, vocab.txt, or a directory with either.
        labels: JSON with the answers.
    """

    tokenizer: Path | None = None
    labels: Path | None = None


_HEADS_OF_TASK = {"match": ("itm", "irtr"), "classify": ("embeddings",)}
"""Tasks whose head is called otherwise; any of the heads will do."""


def require_head(checkpoint: LoadedCheckpoint, task: str) -> None:
    """Refuse a checkpoint without the head that a task needs.

    Raises:
        ArtifactError: names what it has instead.
    """
    if not set(_HEADS_OF_TASK.get(task, (task,))) & set(checkpoint.config.heads):
        heads = ", ".join(checkpoint.config.heads) or "none"
        raise ArtifactError(f"{checkpoint.source}: no head for the task {task!r}; its heads: {heads}")
