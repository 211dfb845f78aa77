"""Open files that torch.save wrote, tensors only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from torch import Tensor
from vlp_spec.errors import ArtifactError

_STATE_KEYS = ("state_dict", "model")


class TorchFile(NamedTuple):
    """Weights and what the trainer wrote beside them."""

    state: dict[str, Tensor]
    settings: Mapping[str, Any]
    """Training settings; empty where the file has none."""


def read_torch_file(path: Path) -> TorchFile:
    """Read a plain state dict, or one inside a trainer's dictionary under "state_dict" or "model".

    Args:
        path: .ckpt, .pt, .pth or .bin.

    Raises:
        ArtifactError: the file is broken, holds more than tensors and plain values, or has no state dict.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ArtifactError(
            f"{path}: holds objects other than tensors, or is damaged; it was not opened, because loading such a file "
            "runs code. Save its state_dict alone and try again",
            detail=str(error),
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path}: not a file that torch.save wrote, or cut short", detail=str(error)) from error
    if not isinstance(content, Mapping):
        raise ArtifactError(f"{path}: expected a dictionary with weights, got {type(content).__name__}")
    state = next((content[key] for key in _STATE_KEYS if key in content), content)
    if not isinstance(state, Mapping) or not state or not all(isinstance(item, Tensor) for item in state.values()):
        keys = " or ".join(map(repr, _STATE_KEYS))
        raise ArtifactError(f"{path}: expected a state dict (name -> tensor), or one under the key {keys}")
    hyper_parameters = content.get("hyper_parameters") or {}
    settings = hyper_parameters.get("config", hyper_parameters) if isinstance(hyper_parameters, Mapping) else {}
    return TorchFile(dict(state), settings if isinstance(settings, Mapping) else {})
