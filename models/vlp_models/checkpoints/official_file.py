"""The published single-file checkpoints, with the tokenizer and answers that a person gives beside them."""

from __future__ import annotations

from pathlib import Path

from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.answer_list import read_answer_list
from vlp_models.checkpoints.checkpoint import GivenFiles, LoadedCheckpoint
from vlp_models.checkpoints.official_vilt import build_official_vilt, is_official_vilt, official_image_settings
from vlp_models.checkpoints.tokenizer_source import read_tokenizer
from vlp_models.checkpoints.torch_file import read_torch_file


def read_official_file(path: Path, given: GivenFiles) -> LoadedCheckpoint:
    """Read a .ckpt of dandelin/ViLT.

    Args:
        path: the file; loaded as tensors and plain values only.
        given: the tokenizer, always; the answers, for a model with a VQA head. The file holds neither.

    Raises:
        ArtifactError: names all that lacks, or what does not fit.
    """
    state, settings = read_torch_file(path)
    if not is_official_vilt(state):
        raise ArtifactError(f"{path}: its names are of no family that is known here; first: {', '.join([*state][:3])}")
    model = build_official_vilt(state, settings, str(path))
    config = model.config
    lacking = []
    if given.tokenizer is None:
        lacking.append(f"the tokenizer ({config.vocab_size} words): give tokenizer.json or vocab.txt (--tokenizer)")
    if given.labels is None and config.num_labels:
        lacking.append(f"the {config.num_labels} answers: give them as JSON, such as vqa_dict.json (--labels)")
    if lacking:
        raise ArtifactError(f"{path}: the file does not hold {', nor '.join(lacking)}")
    tokenizer = read_tokenizer(given.tokenizer or path.parent, config.vocab_size)
    labels = read_answer_list(given.labels, config.num_labels) if given.labels and config.num_labels else None
    image = official_image_settings(config, settings)
    return LoadedCheckpoint(model=model, tokenizer=tokenizer, labels=labels, image=image, source=str(path))
