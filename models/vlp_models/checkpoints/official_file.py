"""The published single-file checkpoints, with the tokenizer and answers that a person gives beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.answer_list import read_answer_list
from vlp_models.checkpoints.checkpoint import GivenFiles, LoadedCheckpoint
from vlp_models.checkpoints.detector_checkpoint import checkpoint_of
from vlp_models.checkpoints.official_blip import is_official_blip, read_official_blip
from vlp_models.checkpoints.official_faster_rcnn import is_official_faster_rcnn, read_official_faster_rcnn
from vlp_models.checkpoints.official_uniter import build_official_uniter, is_official_uniter, name_entailment_labels
from vlp_models.checkpoints.official_vilt import build_official_vilt, is_official_vilt, official_image_settings
from vlp_models.checkpoints.tokenizer_source import read_tokenizer
from vlp_models.checkpoints.torch_file import read_torch_file
from vlp_models.checkpoints.uniter_directory import uniter_image_settings
from vlp_models.checkpoints.uniter_tokenizer import read_uniter_tokenizer


def read_official_file(path: Path, given: GivenFiles) -> LoadedCheckpoint:
    """Read a .ckpt of dandelin/ViLT, a .pt of ChenRocks/UNITER or a .pth of salesforce/BLIP.

    Args:
        path: the file; loaded as tensors and plain values only.
        given: the tokenizer, always; the answers, for a model with a VQA head. The file holds neither. A BLIP writes
            its answers freely where none are given. For a UNITER whose only labels are those of entailment, the answers
            are their names, where they are not in the published order.

    Raises:
        ArtifactError: names all that lacks, or what does not fit.
    """
    state, settings = read_torch_file(path)
    if is_official_vilt(state):
        return _read_vilt(path, state, settings, given)
    if is_official_faster_rcnn(state):
        return checkpoint_of(read_official_faster_rcnn(path), given)
    if is_official_blip(state):
        return read_official_blip(path, state, settings, given)
    if is_official_uniter(state):
        return _read_uniter(path, state, settings, given)
    raise ArtifactError(f"{path}: its names are of no family that is known here; first: {', '.join([*state][:3])}")


def _read_vilt(
    path: Path, state: Mapping[str, Tensor], settings: Mapping[str, Any], given: GivenFiles
) -> LoadedCheckpoint:
    model = build_official_vilt(state, settings, str(path))
    config = model.config
    labels = _companions(path, given, config.vocab_size, config.num_labels)
    return LoadedCheckpoint(
        model=model,
        tokenizer=read_tokenizer(given.tokenizer or path.parent, config.vocab_size),
        labels=labels,
        image=official_image_settings(config, settings),
        source=str(path),
    )


def _read_uniter(
    path: Path, state: Mapping[str, Tensor], settings: Mapping[str, Any], given: GivenFiles
) -> LoadedCheckpoint:
    model = build_official_uniter(state, settings, str(path))
    config = model.config
    labels = _companions(path, given, config.vocab_size, config.num_labels)
    if given.labels and "entailment" in config.heads and "vqa" not in config.heads:
        name_entailment_labels(model, given.labels)
    return LoadedCheckpoint(
        model=model,
        tokenizer=read_uniter_tokenizer(given.tokenizer or path.parent, config.vocab_size),
        labels=labels,
        image=uniter_image_settings(config),
        source=str(path),
    )


def _companions(path: Path, given: GivenFiles, vocab_size: int, num_labels: int) -> tuple[str, ...] | None:
    """The answers, or None without a VQA head; refuses at once all that lacks."""
    lacking = []
    if given.tokenizer is None:
        lacking.append(f"the tokenizer ({vocab_size} words): give tokenizer.json or vocab.txt (--tokenizer)")
    if given.labels is None and num_labels:
        lacking.append(
            f"the {num_labels} answers: give them as JSON, such as vqa_dict.json or ans2label.json (--labels)"
        )
    if lacking:
        raise ArtifactError(f"{path}: the file does not hold {', nor '.join(lacking)}")
    return read_answer_list(given.labels, num_labels) if given.labels and num_labels else None
