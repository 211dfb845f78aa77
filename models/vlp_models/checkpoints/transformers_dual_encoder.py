"""CLIP and SigLIP directories: the form of Hugging Face transformers, which is also the one that we write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPConfig, SiglipConfig
from vlp_spec.errors import ArtifactError, ConfigError

from vlp_models.checkpoints.checkpoint import GivenFiles, LoadedCheckpoint
from vlp_models.checkpoints.dual_encoder_images import PictureSettings, read_picture_settings
from vlp_models.checkpoints.dual_encoder_tokenizer import check_tokenizer, read_dual_encoder_tokenizer
from vlp_models.checkpoints.json_file import read_json_object
from vlp_models.checkpoints.state_loading import load_strictly
from vlp_models.checkpoints.transformers_config import transformers_config
from vlp_models.checkpoints.weight_files import read_weights
from vlp_models.families.dual_encoder import DualEncoder, make_towers
from vlp_models.families.dual_encoder_config import DualEncoderConfig, Kind

_CONFIGS: dict[Kind, type[CLIPConfig] | type[SiglipConfig]] = {"clip": CLIPConfig, "siglip": SiglipConfig}
# A buffer that files of older versions carry: 0, 1, 2, ...
_COUNTING = "position_ids"


def read_clip(directory: Path, given: GivenFiles) -> LoadedCheckpoint:
    """Read a directory whose config.json has model_type "clip"; see `read_siglip`."""
    return _read(directory, given, "clip")


def read_siglip(directory: Path, given: GivenFiles) -> LoadedCheckpoint:
    """Read a directory whose config.json has model_type "siglip" (of SigLIP2 those of one picture size have it too).

    Args:
        directory: with config.json and weights.
        given: a tokenizer to use instead of the directory's own.

    Raises:
        ArtifactError: settings that are not supported, or files that are missing or do not fit each other.
    """
    return _read(directory, given, "siglip")


def _read(directory: Path, given: GivenFiles, kind: Kind) -> LoadedCheckpoint:
    source = str(directory)
    path = directory / "config.json"
    hf = transformers_config(_CONFIGS[kind], read_json_object(path), path)
    image_size = hf.vision_config.image_size
    if not isinstance(image_size, int):
        raise ArtifactError(f"{source}: image_size is {image_size!r}: only squares are supported")
    pictures = read_picture_settings(directory, kind, image_size)
    tokenizer = read_dual_encoder_tokenizer(given.tokenizer or directory, kind)
    config = _join(hf, kind, pictures, tokenizer.pad_id, source)
    check_tokenizer(tokenizer, config)
    model = _build(config, read_weights(directory), source)
    image = {
        "type": "clip",
        "height": pictures.image.height,
        "width": pictures.image.width,
        "shortest_edge": pictures.image.shortest_edge,
        "resample": pictures.image.resample,
    }
    return LoadedCheckpoint(model=model, tokenizer=tokenizer.content, labels=None, image=image, source=source)


def _join(
    hf: CLIPConfig | SiglipConfig, kind: Kind, pictures: PictureSettings, pad_id: int | None, source: str
) -> DualEncoderConfig:
    text = hf.text_config
    if pad_id is None:
        pad_id = int(text.pad_token_id or 0)
    try:
        return DualEncoderConfig(kind, hf, text.max_position_embeddings, pictures.mean, pictures.std, pad_id)
    except ConfigError as error:
        raise ArtifactError(f"{source}: {'; '.join(error.faults)}") from error


def _build(config: DualEncoderConfig, state: Mapping[str, Tensor], source: str) -> DualEncoder:
    weights = {name: tensor for name, tensor in state.items() if not name.endswith(f".{_COUNTING}")}
    try:
        with torch.device("meta"):
            towers = make_towers(config)
    except ValueError as error:
        raise ArtifactError(f"{source}: {error}") from error
    load_strictly(towers, weights, source)
    for module in towers.modules():
        # Not stored, and left on the meta device.
        if _COUNTING in module._buffers:
            length = module.get_buffer(_COUNTING).shape[-1]
            module.register_buffer(_COUNTING, torch.arange(length).expand(1, -1), persistent=False)
    return DualEncoder(config, towers).eval()


def towers_config(config: DualEncoderConfig) -> dict[str, Any]:
    """The content of the config.json from which transformers builds the same towers."""
    names = {"clip": "CLIPModel", "siglip": "SiglipModel"}
    values: dict[str, Any] = config.hf.to_dict()
    return values | {"architectures": [names[config.kind]], "dtype": "float32"}
