"""The one way to open a checkpoint, wherever it is and whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.checkpoint import GivenFiles, LoadedCheckpoint, require_head
from vlp_models.checkpoints.coca_directory import read_coca_directory
from vlp_models.checkpoints.detector_checkpoint import checkpoint_of
from vlp_models.checkpoints.faster_rcnn_directory import read_detector
from vlp_models.checkpoints.hub import fetch_from_hub
from vlp_models.checkpoints.json_file import read_json_object
from vlp_models.checkpoints.official_faster_rcnn import read_official_faster_rcnn
from vlp_models.checkpoints.official_file import read_official_file
from vlp_models.checkpoints.transformers_blip import read_transformers_blip
from vlp_models.checkpoints.transformers_dual_encoder import read_clip, read_siglip
from vlp_models.checkpoints.transformers_vilt import read_transformers_vilt
from vlp_models.checkpoints.uniter_directory import read_uniter_directory
from vlp_models.checkpoints.vilt_directory import read_vilt_directory
from vlp_models.families import coca_config, faster_rcnn_config, uniter_config
from vlp_models.families.vilt_config import MODEL_TYPE

# model_type of config.json -> its reader.
_DIRECTORY_READERS: dict[str, Callable[[Path, GivenFiles], LoadedCheckpoint]] = {
    MODEL_TYPE: read_vilt_directory,
    "vilt": read_transformers_vilt,
    "clip": read_clip,
    "siglip": read_siglip,
    "blip": read_transformers_blip,
    uniter_config.MODEL_TYPE: read_uniter_directory,
    coca_config.MODEL_TYPE: read_coca_directory,
    faster_rcnn_config.MODEL_TYPE: lambda directory, given: checkpoint_of(read_detector(directory), given),
}


def load_checkpoint(
    source: str | Path,
    *,
    tokenizer: str | Path | None = None,
    labels: str | Path | None = None,
    task: str | None = None,
    revision: str | None = None,
) -> LoadedCheckpoint:
    """Open a checkpoint.

    Args:
        source: a directory (ours, or of Hugging Face transformers), a published file (.ckpt, .pt), or a hub id.
        tokenizer: tokenizer.json, vocab.txt or a directory with either; a published file needs it. For CLIP and
            SigLIP also vocab.json with merges.txt, and spiece.model.
        labels: JSON of answers (a list, or a mapping with ids); a published VQA file needs it.
        task: the head that must be there, one of the `HEADS` of a family's configuration, or a task by name.
        revision: of a hub id.

    Returns:
        the model, its tokenizer, answers and image settings.

    Raises:
        ArtifactError: what lacks or does not fit, and what to do about it.
    """
    given = GivenFiles(
        tokenizer=None if tokenizer is None else _existing(tokenizer, "tokenizer"),
        labels=None if labels is None else _existing(labels, "labels"),
    )
    path = Path(source)
    if path.is_file():
        checkpoint = read_official_file(path, given)
    elif path.is_dir():
        checkpoint = _read_directory(path, given)
    else:
        checkpoint = _read_directory(fetch_from_hub(str(source), revision), given)
        checkpoint = replace(checkpoint, source=f"{source}@{revision}" if revision else str(source))
    if task is not None:
        require_head(checkpoint, task)
    return checkpoint


def _existing(path: str | Path, what: str) -> Path:
    if not Path(path).exists():
        raise ArtifactError(f"{what}: {path} does not exist")
    return Path(path)


def _read_directory(directory: Path, given: GivenFiles) -> LoadedCheckpoint:
    if (directory / "config.yaml").is_file() and not (directory / "config.json").is_file():
        return checkpoint_of(read_official_faster_rcnn(directory), given)
    if not (directory / "config.json").is_file():
        raise ArtifactError(f"{directory}: not a checkpoint: no config.json in it")
    model_type = read_json_object(directory / "config.json").get("model_type")
    reader = _DIRECTORY_READERS.get(str(model_type))
    if reader is None:
        raise ArtifactError(
            f"{directory}: config.json has model_type {model_type!r}; supported: {', '.join(_DIRECTORY_READERS)}"
        )
    return reader(directory, given)
