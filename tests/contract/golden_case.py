"""One reference set, and what an adapter says about each of its arrays."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Reference file -> the precision that it was computed in, and the largest difference that passes.
PRECISIONS: dict[str, tuple[torch.dtype, float]] = {
    "outputs.npz": (torch.float32, 5e-5),
    "outputs_f64.npz": (torch.float64, 1e-8),
}
# Optimal transport runs in float32 whatever the model's precision.
TRANSPORT_ATOL = 5e-6


@dataclass(frozen=True)
class Check:
    """Our value of one array; `reference` replaces the stored array where its order is random."""

    value: Any
    reference: Any = None
    atol: float | None = None


@dataclass(frozen=True)
class GoldenCase:
    """A set of reference arrays in one precision."""

    path: Path
    outputs_file: str
    meta: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "meta", json.loads((self.path / "meta.json").read_text()))

    @property
    def dtype(self) -> torch.dtype:
        return PRECISIONS[self.outputs_file][0]

    @property
    def atol(self) -> float:
        return PRECISIONS[self.outputs_file][1]

    @cached_property
    def config(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "config.json").read_text()))

    @cached_property
    def outputs(self) -> dict[str, np.ndarray]:
        with np.load(self.path / self.outputs_file) as arrays:
            return dict(arrays)

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        """Input arrays; floating point in the precision of the case."""
        with np.load(self.path / "inputs.npz") as arrays:
            tensors = {name: torch.from_numpy(arrays[name]) for name in arrays}
        return {name: item.to(self.dtype) if item.is_floating_point() else item for name, item in tensors.items()}


Adapter = Callable[[GoldenCase], Mapping[str, Check]]


def faults_of(case: GoldenCase, checks: Mapping[str, Check]) -> list[str]:
    """Compare every stored array with ours; an array without a check, or a check without an array, is a fault."""
    faults = [f"{name}: the adapter does not know this array" for name in case.outputs.keys() - checks.keys()]
    faults += [f"{name}: expected in {case.outputs_file}, not there" for name in checks.keys() - case.outputs.keys()]
    for name in sorted(case.outputs.keys() & checks.keys()):
        faults += _difference(name, checks[name], case)
    return faults


def _difference(name: str, check: Check, case: GoldenCase) -> list[str]:
    value = _as_array(check.value)
    reference = _as_array(case.outputs[name] if check.reference is None else check.reference)
    if value.shape != reference.shape:
        return [f"{name}: got shape {value.shape}, expected {reference.shape}"]
    atol = _allowed(case.outputs[name], case) if check.atol is None else check.atol
    difference = np.abs(value - reference).max(initial=0.0)
    # Written so that NaN fails.
    return [] if difference <= atol else [f"{name}: differs by {difference:.2e}, allowed {atol:.0e}"]


def _allowed(stored: np.ndarray, case: GoldenCase) -> float:
    """The case's tolerance; where an array was rounded to single precision, as losses on single targets are, a few
    units in its last place."""
    if stored.dtype != np.float32 or case.dtype == torch.float32:
        return case.atol
    return max(case.atol, 8 * float(np.finfo(np.float32).eps * np.abs(stored).max(initial=0.0)))


def _as_array(value: Any) -> np.ndarray:
    array = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
    return array.astype(np.float64)
