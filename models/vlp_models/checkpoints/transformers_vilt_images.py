"""transformers' image processor settings of ViLT -> ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.json_file import read_json_object
from vlp_models.checkpoints.official_vilt import vilt_image_settings
from vlp_models.families.vilt_config import ViltConfig

# PIL's number of bicubic resampling, as transformers stores it.
_BICUBIC = 3
_SUPPORTED: dict[str, Any] = {
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "resample": _BICUBIC,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def read_image_settings(directory: Path, config: ViltConfig) -> dict[str, Any]:
    """Read preprocessor_config.json, or the image processor's part of processor_config.json.

    Without either, the published settings for the model's image size hold.

    Raises:
        ArtifactError: lists every setting that the processor or the graph cannot follow.
    """
    path, values = _find(directory)
    faults = [
        f"{key} is {values[key]!r}, only {only!r} is supported"
        for key, only in _SUPPORTED.items()
        if key in values and values[key] != only
    ]
    if faults:
        raise ArtifactError(f"{path}: {'; '.join(faults)}")
    size = values.get("size", config.image_size)
    shorter_edge = size.get("shortest_edge") if isinstance(size, dict) else size
    divisor = values.get("size_divisor") or 32
    if not isinstance(shorter_edge, int) or not isinstance(divisor, int):
        raise ArtifactError(
            f"{path}: size is {size!r} and size_divisor {divisor!r}: expected a shortest_edge in pixels"
        )
    return vilt_image_settings(config, shorter_edge, divisor)


def _find(directory: Path) -> tuple[Path, dict[str, Any]]:
    path = directory / "preprocessor_config.json"
    if path.is_file():
        return path, read_json_object(path)
    path = directory / "processor_config.json"
    if path.is_file():
        part = read_json_object(path).get("image_processor", {})
        return path, part if isinstance(part, dict) else {}
    return path, {}
