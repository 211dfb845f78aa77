"""A checkpoint in memory: a model and all that is needed to use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlp_spec.errors import ArtifactError

from vlp_models.families.blip import BlipModel
from vlp_models.families.blip_config import BlipConfig
from vlp_models.families.coca import CocaModel
from vlp_models.families.coca_config import CocaConfig
from vlp_models.families.dual_encoder import DualEncoder
from vlp_models.families.dual_encoder_config import DualEncoderConfig
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_models.families.uniter import UniterModel
from vlp_models.families.uniter_config import UniterConfig
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig


@dataclass(frozen=True, eq=False)
class LoadedCheckpoint:
    """What `load_checkpoint` gives.

    Attributes:
        model: float32, in evaluation mode, on the CPU.
        tokenizer: content of tokenizer.json.
        labels: VQA answers, or a detector's classes, index = logit; None where the model has neither. A BLIP writes its
            answers: it has some where it is to choose among them.
        image: settings of the image processor, the form of `Deployment.image`.
        source: where it came from: a path, or hub id@revision.
        attributes: of a detector, likewise.
    """

    model: ViltModel | UniterModel | DualEncoder | BlipModel | CocaModel | FasterRcnn
    tokenizer: str
    labels: tuple[str, ...] | None
    image: Mapping[str, Any]
    source: str
    attributes: tuple[str, ...] = ()

    @property
    def config(self) -> ViltConfig | UniterConfig | DualEncoderConfig | BlipConfig | CocaConfig | FasterRcnnConfig:
        """The model's configuration."""
        return self.model.config

    @property
    def text(self) -> dict[str, Any]:
        """Settings of the text processor, the form of `Deployment.text`."""
        config = self.config
        if isinstance(config, FasterRcnnConfig):
            return {}
        if isinstance(config, ViltConfig | BlipConfig | CocaConfig):
            return {"type": "bert", "max_length": config.max_text_len}
        if isinstance(config, UniterConfig):
            # The published model cuts no text; it has as many positions as BERT.
            return {"type": "bert", "max_length": config.max_positions}
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
            raise self._of_another_family("a ViLT checkpoint")
        return self.model

    @property
    def uniter(self) -> UniterModel:
        """The model, where it is a UNITER.

        Raises:
            ArtifactError: it is of another family.
        """
        if not isinstance(self.model, UniterModel):
            raise self._of_another_family("a UNITER checkpoint")
        return self.model

    @property
    def dual_encoder(self) -> DualEncoder:
        """The model, where it is a dual encoder.

        Raises:
            ArtifactError: it is of another family.
        """
        if not isinstance(self.model, DualEncoder):
            raise self._of_another_family("a dual encoder (CLIP or SigLIP)")
        return self.model

    @property
    def blip(self) -> BlipModel:
        """The model, where it is a BLIP.

        Raises:
            ArtifactError: it is of another family.
        """
        if not isinstance(self.model, BlipModel):
            raise self._of_another_family("a BLIP checkpoint")
        return self.model

    @property
    def detector(self) -> FasterRcnn:
        """The model, where it is a region detector.

        Raises:
            ArtifactError: it is of another family.
        """
        if not isinstance(self.model, FasterRcnn):
            raise self._of_another_family("a region detector")
        return self.model

    def _of_another_family(self, expected: str) -> ArtifactError:
        names = {
            ViltModel: "a ViLT checkpoint",
            UniterModel: "a UNITER checkpoint",
            DualEncoder: "a dual encoder",
            BlipModel: "a BLIP checkpoint",
            CocaModel: "a CoCa checkpoint",
            FasterRcnn: "a region detector",
        }
        return ArtifactError(f"{self.source}: {names[type(self.model)]}, expected {expected}")


@dataclass(frozen=True)
class GivenFiles:
    """What a person names beside a checkpoint, because it lacks it or to use another.

    Attributes:
        tokenizer: tokenizer.json, vocab.txt, or a directory with either.
        labels: JSON with the answers.
    """

    tokenizer: Path | None = None
    labels: Path | None = None


_HEADS_OF_TASK = {
    "match": ("match", "itm", "irtr", "rank"),
    "embeddings": ("embeddings", "match"),
    "classify": ("embeddings", "match"),
    "reasoning": ("reasoning", "nlvr2"),
}
"""Tasks whose head may be called otherwise; any of the heads will do. A BLIP that matches has embeddings too."""


def require_head(checkpoint: LoadedCheckpoint, task: str) -> None:
    """Refuse a checkpoint without the head that a task needs.

    Raises:
        ArtifactError: names what it has instead.
    """
    if not set(_HEADS_OF_TASK.get(task, (task,))) & set(checkpoint.config.heads):
        heads = ", ".join(checkpoint.config.heads) or "none"
        raise ArtifactError(f"{checkpoint.source}: no head for the task {task!r}; its heads: {heads}")
