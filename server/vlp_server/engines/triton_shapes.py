"""Shapes as Triton wants them."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from vlp_spec.tensors import TensorSpec


def with_sizes(array: NDArray[Any]) -> NDArray[Any]:
    """One number an item as a row of one: Triton takes no tensor that has a batch and no sizes."""
    return array[:, None] if array.ndim == 1 else array


def without_sizes(array: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """The same backwards."""
    return array.reshape(array.shape[: len(spec.shape)])
