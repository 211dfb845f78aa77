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
from vlp_pipeline.vilt_image import ViltImageSettings
from vlp_spec.errors import ArtifactError

from vlp_models.families.vilt import ViltModel

_STORAGE = {"float32": torch.float32, "float16": torch.float16}


def save_checkpoint(
    directory: Path,
    model: ViltModel,
    *,
    tokenizer: str,
    image: Mapping[str, Any],
    labels: Sequence[str] | None = None,
    storage: str = "float32",
) -> None:
    """Write config.json, model.safetensors, tokenizer.json and preprocessor_config.json.

    A checkpoint that is there already is exchanged; a process that dies on the way leaves the old one or none.

    Args:
        directory: its parents are made.
        model: on any device; not changed.
        tokenizer: content of tokenizer.json.
        image: settings of the image processor, the form of `Deployment.image`.
        labels: answers, as many as the VQA head has outputs; None without one.
        storage: "float32", or "float16" at half the size, which loads back as float32.

    Raises:
        ArtifactError: the answers or image settings do not fit the model, the storage is unknown, or the directory
            holds something other than a checkpoint.
    """
    _check(model, image, labels, storage)
    if directory.exists() and any(directory.iterdir()) and not (directory / "config.json").is_file():
        raise ArtifactError(f"{directory}: not empty and not a checkpoint; it is left as it is, name another")
    directory.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        content = scratch / "new"
        content.mkdir()
        config = model.config.to_dict()
        if labels is not None:
            config["id2label"] = {str(number): label for number, label in enumerate(labels)}
        _write_json(content / "config.json", config)
        _write_json(content / "preprocessor_config.json", dict(image))
        (content / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        _save_weights(model, content / "model.safetensors", _STORAGE[storage])
        if directory.exists():
            os.replace(directory, scratch / "old")
        os.replace(content, directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check(model: ViltModel, image: Mapping[str, Any], labels: Sequence[str] | None, storage: str) -> None:
    config = model.config
    settings = ViltImageSettings.from_mapping(image)
    faults = []
    if settings.patch_size != config.patch_size:
        faults.append(f"image: patch_size {settings.patch_size}, but the model's is {config.patch_size}")
    if len(labels or ()) != config.num_labels:
        faults.append(f"labels: got {len(labels or ())}, but the model's head has {config.num_labels} outputs")
    if storage not in _STORAGE:
        faults.append(f"storage: got {storage!r}, expected one of {', '.join(_STORAGE)}")
    if faults:
        raise ArtifactError("; ".join(faults))


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _save_weights(model: ViltModel, path: Path, dtype: torch.dtype) -> None:
    # Contiguous copies on the CPU: safetensors refuses tensors that share memory.
    state = {
        name: tensor.detach().to("cpu", dtype, copy=True).contiguous() for name, tensor in model.state_dict().items()
    }
    # Not `save_file`, whose files nobody but their owner can read.
    path.write_bytes(save(state, metadata={"format": "pt"}))
