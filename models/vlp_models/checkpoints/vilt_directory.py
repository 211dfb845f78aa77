"""Our own checkpoint directories: config.json, model.safetensors, tokenizer.json, preprocessor_config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from vlp_pipeline.vilt_image import ViltImageSettings
from vlp_spec.errors import ArtifactError, ConfigError

from vlp_models.checkpoints.answer_list import parse_answer_list, read_answer_list
from vlp_models.checkpoints.checkpoint import GivenFiles, LoadedCheckpoint
from vlp_models.checkpoints.json_file import read_json_object
from vlp_models.checkpoints.state_loading import load_strictly
from vlp_models.checkpoints.tokenizer_source import read_tokenizer
from vlp_models.checkpoints.weight_files import read_weights
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig


def read_vilt_directory(directory: Path, given: GivenFiles) -> LoadedCheckpoint:
    """Read what `save_checkpoint` wrote.

    Args:
        directory: holds config.json with model_type "vlpserve-vilt".
        given: files to use instead of the directory's own.

    Raises:
        ArtifactError: a file is missing or damaged, or they do not fit each other.
    """
    values = read_json_object(directory / "config.json")
    try:
        # The answers are kept in the same file, as transformers does; they are no part of the model's shape.
        config = ViltConfig.from_dict({key: value for key, value in values.items() if key != "id2label"})
    except ConfigError as error:
        raise ArtifactError(f"{directory / 'config.json'}: {'; '.join(error.faults)}") from error
    with torch.device("meta"):
        model = ViltModel(config)
    load_strictly(model, read_weights(directory), str(directory))
    return LoadedCheckpoint(
        model=model,
        tokenizer=read_tokenizer(given.tokenizer or directory, config.vocab_size),
        labels=vilt_labels(config, values, given, directory),
        image=_image_settings(directory, config),
        source=str(directory),
    )


def vilt_labels(
    config: ViltConfig, values: Mapping[str, Any], given: GivenFiles, directory: Path
) -> tuple[str, ...] | None:
    """Find the answers: the given file, else id2label of config.json; None without a VQA head.

    Raises:
        ArtifactError: there are none, or not as many as the head has outputs.
    """
    if "vqa" not in config.heads:
        return None
    if given.labels is not None:
        return read_answer_list(given.labels, config.num_labels)
    if not values.get("id2label"):
        raise ArtifactError(
            f"{directory / 'config.json'}: no id2label: the head's {config.num_labels} outputs have no names; "
            "give a JSON file of answers (--labels)"
        )
    return parse_answer_list({"id2label": values["id2label"]}, config.num_labels, f"{directory / 'config.json'}")


def _image_settings(directory: Path, config: ViltConfig) -> dict[str, Any]:
    path = directory / "preprocessor_config.json"
    try:
        settings = ViltImageSettings.from_mapping(read_json_object(path))
    except ArtifactError as error:
        raise ArtifactError(error.message if str(path) in error.message else f"{path}: {error.message}") from error
    if settings.patch_size != config.patch_size:
        raise ArtifactError(f"{path}: patch_size {settings.patch_size}, but the model's is {config.patch_size}")
    return asdict(settings)
