"""Directories of region detectors: config.json, model.safetensors, preprocessor_config.json."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_spec.errors import ArtifactError, ConfigError

from vlp_models.checkpoints.json_file import read_json_object
from vlp_models.checkpoints.state_loading import load_strictly
from vlp_models.checkpoints.weight_files import SAFETENSORS, read_weights
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig

_CONFIG, _PREPROCESSOR = "config.json", "preprocessor_config.json"
_STORAGE = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True, eq=False)
class DetectorCheckpoint:
    """A detector and all that is needed to use it.

    Attributes:
        model: float32, in evaluation mode, on the CPU.
        settings: of the host side, with the model's anchors.
        classes: names of the classes; empty where nobody knows them.
        attributes: names of the attributes; likewise.
        source: where it came from.
    """

    model: FasterRcnn
    settings: DetectorSettings
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    source: str = ""


def save_detector(directory: Path, checkpoint: DetectorCheckpoint, *, storage: str = "float32") -> None:
    """Write a directory, whole or not at all; a checkpoint that is there already is exchanged.

    Args:
        directory: its parents are made.
        checkpoint: not changed.
        storage: "float32", or "float16" at half the size, which loads back as float32.

    Raises:
        ArtifactError: names do not fit the model, the storage is unknown, or the directory holds something other than
            a checkpoint.
    """
    config = checkpoint.model.config
    _check_names(checkpoint.classes, checkpoint.attributes, config, str(directory))
    if storage not in _STORAGE:
        raise ArtifactError(f"storage: got {storage!r}, expected one of {', '.join(_STORAGE)}")
    if directory.exists() and any(directory.iterdir()) and not (directory / _CONFIG).is_file():
        raise ArtifactError(f"{directory}: not empty and not a checkpoint; it is left as it is, name another")
    values = config.to_dict() | {"classes": list(checkpoint.classes), "attributes": list(checkpoint.attributes)}
    settings = checkpoint.model.anchored(checkpoint.settings)
    directory.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        content = scratch / "new"
        content.mkdir()
        _write_json(content / _CONFIG, values)
        _write_json(content / _PREPROCESSOR, settings.to_mapping())
        (content / SAFETENSORS).write_bytes(_weights(checkpoint.model, _STORAGE[storage]))
        if directory.exists():
            os.replace(directory, scratch / "old")
        os.replace(content, directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read_detector(directory: Path) -> DetectorCheckpoint:
    """Read what `save_detector` wrote.

    Raises:
        ArtifactError: a file is missing or damaged, or they do not fit each other.
    """
    values = read_json_object(directory / _CONFIG)
    names = {key: _names(values, key, directory / _CONFIG) for key in ("classes", "attributes")}
    try:
        config = FasterRcnnConfig.from_dict({key: value for key, value in values.items() if key not in names})
    except ConfigError as error:
        raise ArtifactError(f"{directory / _CONFIG}: {'; '.join(error.faults)}") from error
    _check_names(names["classes"], names["attributes"], config, str(directory / _CONFIG))
    with torch.device("meta"):
        model = FasterRcnn(config)
    load_strictly(model, read_weights(directory), str(directory))
    model.freeze_norms()
    path = directory / _PREPROCESSOR
    settings = DetectorSettings.from_mapping(read_json_object(path), str(path))
    if model.anchored(settings) != settings:
        raise ArtifactError(f"{path}: its anchors or stride are not those of the weights")
    return DetectorCheckpoint(model, settings, names["classes"], names["attributes"], str(directory))


def _weights(model: FasterRcnn, dtype: torch.dtype) -> bytes:
    state = {}
    for name, tensor in model.state_dict().items():
        kept = dtype if tensor.is_floating_point() and "cell_anchors" not in name else tensor.dtype
        # Contiguous copies on the CPU: safetensors refuses tensors that share memory.
        state[name] = tensor.detach().to("cpu", kept, copy=True).contiguous(memory_format=torch.contiguous_format)
    return save(state, metadata={"format": "pt"})


def _names(values: Mapping[str, Any], key: str, path: Path) -> tuple[str, ...]:
    names = values.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ArtifactError(f"{path}: {key}: got {names!r:.80}, expected a list of texts")
    return tuple(names)


def _check_names(classes: tuple[str, ...], attributes: tuple[str, ...], config: FasterRcnnConfig, place: str) -> None:
    for what, names, expected in (
        ("classes", classes, config.num_classes),
        ("attributes", attributes, config.num_attributes),
    ):
        if names and len(names) != expected:
            raise ArtifactError(f"{place}: {len(names)} names of {what}, but the model has {expected}")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
