"""Write checkpoint directories, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from vlp_pipeline.clip_image import ClipImageSettings
from vlp_pipeline.vilt_image import ViltImageSettings
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.blip_files import blip_faults, blip_files, blip_weights
from vlp_models.checkpoints.coca_directory import coca_faults, coca_files
from vlp_models.checkpoints.dual_encoder_images import PictureSettings, write_picture_settings
from vlp_models.checkpoints.dual_encoder_tokenizer import ReadTokenizer, check_tokenizer, tokenizer_settings
from vlp_models.checkpoints.transformers_dual_encoder import towers_config
from vlp_models.checkpoints.uniter_directory import uniter_faults, uniter_files
from vlp_models.families.blip import BlipModel
from vlp_models.families.coca import CocaModel
from vlp_models.families.dual_encoder import DualEncoder
from vlp_models.families.uniter import UniterModel
from vlp_models.families.vilt import ViltModel

SavedModel = ViltModel | UniterModel | DualEncoder | BlipModel | CocaModel
_STORAGE = {"float32": torch.float32, "float16": torch.float16}


def save_checkpoint(
    directory: Path,
    model: SavedModel,
    *,
    tokenizer: str,
    image: Mapping[str, Any],
    labels: Sequence[str] | None = None,
    storage: str = "float32",
) -> None:
    """Write config.json, model.safetensors, tokenizer.json and preprocessor_config.json.

    The directory of a dual encoder or a BLIP is one that transformers itself opens; tokenizer_config.json is there for
    that. A checkpoint that is there already is exchanged; a process that dies on the way leaves the old one or none.

    Args:
        directory: its parents are made.
        model: on any device; not changed.
        tokenizer: content of tokenizer.json.
        image: settings of the image processor, the form of `Deployment.image`.
        labels: answers, as many as the VQA head has outputs; None without one. Of a BLIP that answers questions those
            it chooses among; None where it writes freely.
        storage: "float32", or "float16" at half the size, which loads back as float32.

    Raises:
        ArtifactError: the answers, image settings or tokenizer do not fit the model, the storage is unknown, or the
            directory holds something other than a checkpoint.
    """
    faults = _faults(model, image, labels)
    if storage not in _STORAGE:
        faults.append(f"storage: got {storage!r}, expected one of {', '.join(_STORAGE)}")
    if faults:
        raise ArtifactError("; ".join(faults))
    files = _files(model, image, labels, tokenizer)
    if directory.exists() and any(directory.iterdir()) and not (directory / "config.json").is_file():
        raise ArtifactError(f"{directory}: not empty and not a checkpoint; it is left as it is, name another")
    directory.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        content = scratch / "new"
        content.mkdir()
        for name, values in files.items():
            _write_json(content / name, values)
        (content / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        _save_weights(_weights(model), content / "model.safetensors", _STORAGE[storage])
        if directory.exists():
            os.replace(directory, scratch / "old")
        os.replace(content, directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _faults(model: SavedModel, image: Mapping[str, Any], labels: Sequence[str] | None) -> list[str]:
    """What does not fit the model."""
    if isinstance(model, DualEncoder):
        return _dual_encoder_faults(model, image, labels)
    if isinstance(model, BlipModel):
        return blip_faults(model, image, labels)
    if isinstance(model, CocaModel):
        return coca_faults(model, image, labels)
    if isinstance(model, UniterModel):
        return uniter_faults(model, image, labels)
    return _vilt_faults(model, image, labels)


def _files(
    model: SavedModel,
    image: Mapping[str, Any],
    labels: Sequence[str] | None,
    tokenizer: str,
) -> dict[str, Mapping[str, Any]]:
    """File name -> content of the JSON files."""
    if isinstance(model, DualEncoder):
        return _dual_encoder_files(model, image, tokenizer)
    if isinstance(model, BlipModel):
        return blip_files(model, image, labels, tokenizer)
    if isinstance(model, CocaModel):
        return coca_files(model, image, tokenizer)
    if isinstance(model, UniterModel):
        return uniter_files(model, image, labels)
    return _vilt_files(model, image, labels)


def _weights(model: SavedModel) -> Mapping[str, Tensor]:
    """Name -> tensor of the weights file."""
    if isinstance(model, BlipModel):
        return blip_weights(model)
    return (model.hf if isinstance(model, DualEncoder) else model).state_dict()


def _vilt_faults(model: ViltModel, image: Mapping[str, Any], labels: Sequence[str] | None) -> list[str]:
    """What does not fit the model."""
    config = model.config
    settings = ViltImageSettings.from_mapping(image)
    faults = []
    if settings.patch_size != config.patch_size:
        faults.append(f"image: patch_size {settings.patch_size}, but the model's is {config.patch_size}")
    if len(labels or ()) != config.num_labels:
        faults.append(f"labels: got {len(labels or ())}, but the model's head has {config.num_labels} outputs")
    return faults


def _vilt_files(
    model: ViltModel, image: Mapping[str, Any], labels: Sequence[str] | None
) -> dict[str, Mapping[str, Any]]:
    """File name -> content of the JSON files."""
    values = model.config.to_dict()
    if labels is not None:
        values["id2label"] = {str(number): label for number, label in enumerate(labels)}
    return {"config.json": values, "preprocessor_config.json": image}


def _dual_encoder_faults(model: DualEncoder, image: Mapping[str, Any], labels: Sequence[str] | None) -> list[str]:
    """As `_vilt_faults`."""
    settings, side = ClipImageSettings.from_mapping(image), model.config.image_size
    faults = []
    if (settings.height, settings.width) != (side, side):
        faults.append(
            f"image: pictures of {settings.width}x{settings.height} pixels, but the model reads {side}x{side}"
        )
    if labels:
        faults.append(f"labels: got {len(labels)}, but a dual encoder has no list of answers")
    return faults


def _dual_encoder_files(model: DualEncoder, image: Mapping[str, Any], tokenizer: str) -> dict[str, Mapping[str, Any]]:
    """As `_vilt_files`, in transformers' form; checks that the tokenizer fits the model."""
    config, settings = model.config, ClipImageSettings.from_mapping(image)
    pictures = PictureSettings(settings, config.pixel_mean, config.pixel_std)
    check_tokenizer(ReadTokenizer(tokenizer, config.pad_id, Path("tokenizer.json")), config)
    return {
        "config.json": towers_config(config),
        "preprocessor_config.json": write_picture_settings(pictures, config.kind),
        "tokenizer_config.json": tokenizer_settings(tokenizer, config),
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _save_weights(weights: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    # Contiguous copies on the CPU: safetensors refuses tensors that share memory.
    state = {name: tensor.detach().to("cpu", dtype, copy=True).contiguous() for name, tensor in weights.items()}
    # Not `save_file`, whose files nobody but their owner can read.
    path.write_bytes(save(state, metadata={"format": "pt"}))
