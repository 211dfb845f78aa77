"""Our own directories of UNITER: config.json, model.safetensors, tokenizer.json, preprocessor_config.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from vlp_pipeline.region_settings import RegionSettings
from vlp_pipeline.settings import read_settings
from vlp_spec.errors import ArtifactError, ConfigError

from vlp_models.checkpoints.answer_list import parse_answer_list, read_answer_list
from vlp_models.checkpoints.checkpoint import GivenFiles, LoadedCheckpoint
from vlp_models.checkpoints.json_file import read_json_object
from vlp_models.checkpoints.state_loading import load_strictly
from vlp_models.checkpoints.uniter_tokenizer import read_uniter_tokenizer
from vlp_models.checkpoints.weight_files import read_weights
from vlp_models.families.uniter import UniterModel
from vlp_models.families.uniter_config import UniterConfig


def uniter_image_settings(config: UniterConfig) -> dict[str, Any]:
    """The region processor's settings of the published model, for this model's features."""
    return asdict(RegionSettings(config.region_size))


def read_uniter_directory(directory: Path, given: GivenFiles) -> LoadedCheckpoint:
    """Read what `save_checkpoint` wrote.

    Args:
        directory: holds config.json with model_type "vlpserve-uniter".
        given: files to use instead of the directory's own.

    Raises:
        ArtifactError: a file is missing or damaged, or they do not fit each other.
    """
    place = directory / "config.json"
    values = read_json_object(place)
    try:
        # The answers are kept in the same file, as transformers does; they are no part of the model's shape.
        config = UniterConfig.from_dict({key: value for key, value in values.items() if key != "id2label"})
    except ConfigError as error:
        raise ArtifactError(f"{place}: {'; '.join(error.faults)}") from error
    with torch.device("meta"):
        model = UniterModel(config)
    load_strictly(model, read_weights(directory), str(directory))
    preprocessor = directory / "preprocessor_config.json"
    return LoadedCheckpoint(
        model=model,
        tokenizer=read_uniter_tokenizer(given.tokenizer or directory, config.vocab_size),
        labels=_labels(config, values, given, place),
        image=asdict(_region_settings(read_json_object(preprocessor), config, str(preprocessor))),
        source=str(directory),
    )


def uniter_faults(model: UniterModel, image: Mapping[str, Any], labels: Sequence[str] | None) -> list[str]:
    """What does not fit a model that is to be saved."""
    config, given = model.config, len(labels or ())
    faults = []
    try:
        _region_settings(image, config, "image")
    except ArtifactError as error:
        faults.append(error.message)
    if given != config.num_labels:
        faults.append(f"labels: got {given}, but the model's head has {config.num_labels} outputs")
    return faults


def uniter_files(
    model: UniterModel, image: Mapping[str, Any], labels: Sequence[str] | None
) -> dict[str, Mapping[str, Any]]:
    """File name -> content of the JSON files."""
    values = model.config.to_dict()
    if labels is not None:
        values["id2label"] = {str(number): label for number, label in enumerate(labels)}
    return {"config.json": values, "preprocessor_config.json": image}


def _region_settings(image: Mapping[str, Any], config: UniterConfig, place: str) -> RegionSettings:
    settings = read_settings(RegionSettings, image, place)
    if settings.region_size != config.region_size:
        raise ArtifactError(f"{place}: region_size {settings.region_size}, but the model's is {config.region_size}")
    return settings


def _labels(config: UniterConfig, values: Mapping[str, Any], given: GivenFiles, place: Path) -> tuple[str, ...] | None:
    """The answers: the given file, else id2label of config.json; None without a VQA head."""
    if "vqa" not in config.heads:
        return None
    if given.labels is not None:
        return read_answer_list(given.labels, config.num_labels)
    if not values.get("id2label"):
        raise ArtifactError(
            f"{place}: no id2label: the head's {config.num_labels} outputs have no names; give a JSON file of answers "
            "(--labels)"
        )
    return parse_answer_list({"id2label": values["id2label"]}, config.num_labels, str(place))
