"""sha256 of what an export reads and writes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from vlp_spec.files import file_digest

_CHUNK = 1 << 20


def folder_digests(folder: Path, prefix: str = "") -> dict[str, str]:
    """`prefix` + path relative to `folder` -> sha256 in hex, for every file below it; sorted by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {prefix + path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """One sha256 for a model's weights: of names, shapes and float32 values, whatever file they came in.

    Args:
        state: a state_dict on the CPU; not changed.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        values = state[name].detach().float().contiguous().numpy()
        digest.update(f"{name} {values.shape}\n".encode())
        for start in range(0, values.size, _CHUNK):
            digest.update(values.reshape(-1)[start : start + _CHUNK].tobytes())
    return digest.hexdigest()
