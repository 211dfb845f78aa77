"""Read the weights of a checkpoint directory, whichever files hold them."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.json_file import read_json_object
from vlp_models.checkpoints.torch_file import read_torch_file

SAFETENSORS = "model.safetensors"
TORCH = "pytorch_model.bin"


def read_weights(directory: Path) -> dict[str, Tensor]:
    """Read model.safetensors, its shards, or else pytorch_model.bin (tensors only).

    Raises:
        ArtifactError: none of them is there, or one is damaged or missing from its index.
    """
    for name in (SAFETENSORS, TORCH):
        if (directory / name).is_file():
            return read_weight_file(directory / name)
        if (directory / f"{name}.index.json").is_file():
            return _read_shards(directory, f"{name}.index.json")
    raise ArtifactError(f"{directory}: no weights: expected {SAFETENSORS}, its shards with an index, or {TORCH}")


def read_weight_file(path: Path) -> dict[str, Tensor]:
    """Read one file of weights: safetensors by its suffix, else a torch file with tensors only.

    Raises:
        ArtifactError: it is damaged, or not what its name says.
    """
    if path.suffix != ".safetensors":
        return read_torch_file(path).state
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path}: not a safetensors file, or cut short ({error})") from error


def _read_shards(directory: Path, index: str) -> dict[str, Tensor]:
    names = sorted(set(read_json_object(directory / index).get("weight_map", {}).values()))
    absent = [name for name in names if not (directory / name).is_file()]
    if not names or absent:
        raise ArtifactError(f"{directory / index}: shards are missing: {', '.join(absent) or 'none is listed'}")
    state: dict[str, Tensor] = {}
    for name in names:
        state |= read_weight_file(directory / name)
    return state
