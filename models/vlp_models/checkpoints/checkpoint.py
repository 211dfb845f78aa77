"""A checkpoint in memory: a model and all that is needed to use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlp_spec.errors import ArtifactError

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

    model: ViltModel
    tokenizer: str
    labels: tuple[str, ...] | None
    image: Mapping[str, Any]
    source: str

    @property
    def config(self) -> ViltConfig:
        """The model's configuration."""
        return self.model.config

    @property
    def text(self) -> dict[str, Any]:
        """Settings of the text processor, the form of `Deployment.text`."""
        return {"type": "bert", "max_length": self.config.max_text_len}


@dataclass(frozen=True)
class GivenFiles:
    """What a person names beside a checkpoint, because it lacks it or to use another.

    Attributes:
        tokenizer: tokenizer.json, vocab.txt, or a directory with either.
        labels: JSON with the answers.
    """

    tokenizer: Path | None = None
    labels: Path | None = None


def require_head(checkpoint: LoadedCheckpoint, head: str) -> None:
    """Refuse a checkpoint without the head that a task needs.

    Raises:
        ArtifactError: names what it has instead.
    """
    if head not in checkpoint.config.heads:
        heads = ", ".join(checkpoint.config.heads) or "none"
        raise ArtifactError(f"{checkpoint.source}: no head for the task {head!r}; its heads: {heads}")
