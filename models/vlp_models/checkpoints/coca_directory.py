"""Our own directories of CoCa: config.json, model.safetensors, tokenizer.json, preprocessor_config.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from vlp_pipeline.clip_image import ClipImageSettings
from vlp_spec.errors import ArtifactError, ConfigError

from vlp_models.checkpoints.blip_tokenizer import blip_token_ids, read_blip_tokenizer
from vlp_models.checkpoints.checkpoint import GivenFiles, LoadedCheckpoint
from vlp_models.checkpoints.json_file import read_json_object
from vlp_models.checkpoints.state_loading import load_strictly
from vlp_models.checkpoints.weight_files import read_weights
from vlp_models.families.coca import CocaModel
from vlp_models.families.coca_config import CocaConfig, stated_vocabulary


def read_coca_directory(directory: Path, given: GivenFiles) -> LoadedCheckpoint:
    """Read what `save_checkpoint` wrote.

    Args:
        directory: holds config.json with model_type "vlpserve-coca".
        given: files to use instead of the directory's own.

    Raises:
        ArtifactError: a file is missing or damaged, or they do not fit each other.
    """
    place = directory / "config.json"
    values = read_json_object(place)
    try:
        tokenizer = read_blip_tokenizer(given.tokenizer or directory, stated_vocabulary(values))
        config = CocaConfig.from_dict(values, tokenizer.tokens)
    except ConfigError as error:
        raise ArtifactError(f"{place}: {'; '.join(error.faults)}") from error
    with torch.device("meta"):
        model = CocaModel(config)
    load_strictly(model, read_weights(directory), str(directory))
    model.set_pixels()  # not stored, and left on the meta device
    preprocessor = directory / "preprocessor_config.json"
    image = ClipImageSettings.from_mapping(read_json_object(preprocessor))
    if faults := _image_faults(config, image):
        raise ArtifactError(f"{preprocessor}: {'; '.join(faults)}")
    return LoadedCheckpoint(model, tokenizer.content, None, asdict(image), str(directory))


def coca_faults(model: CocaModel, image: Mapping[str, Any], labels: Sequence[str] | None) -> list[str]:
    """What does not fit a model that is to be saved."""
    faults = _image_faults(model.config, ClipImageSettings.from_mapping(image))
    if labels:
        faults.append(f"labels: got {len(labels)}, but a CoCa has no list of answers")
    return faults


def coca_files(model: CocaModel, image: Mapping[str, Any], tokenizer: str) -> dict[str, Mapping[str, Any]]:
    """File name -> content of the JSON files.

    Raises:
        ArtifactError: the tokenizer is not the model's.
    """
    tokens = model.config.parts.tokens
    if (found := blip_token_ids(tokenizer)) != tokens:
        raise ArtifactError(f"tokenizer: its special tokens are {found}, but the model's are {tokens}")
    return {"config.json": model.config.to_dict(), "preprocessor_config.json": image}


def _image_faults(config: CocaConfig, image: ClipImageSettings) -> list[str]:
    side = config.parts.image_size
    if (image.height, image.width) == (side, side):
        return []
    return [f"image: pictures of {image.width}x{image.height} pixels, but the model reads {side}x{side}"]
