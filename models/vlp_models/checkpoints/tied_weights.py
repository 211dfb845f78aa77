"""Weights that files store twice because two parts of a model share them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from vlp_spec.errors import ArtifactError


def take_once(state: Mapping[str, Tensor], tied: Mapping[str, str], source: str) -> dict[str, Tensor]:
    """Leave one of two names of a weight; a file may also hold it under the other name alone.

    Args:
        state: name -> tensor, on any device.
        tied: second name -> the name that the model has it under; names that are not there are passed over.
        source: names the checkpoint in errors.

    Raises:
        ArtifactError: the two are not the same weight.
    """
    once = dict(state)
    for second, first in tied.items():
        if second not in once:
            continue
        tensor = once.pop(second)
        names, original = f"{source}: {second} and {first}", once.setdefault(first, tensor)
        if tensor.shape != original.shape:
            raise ArtifactError(
                f"{names} are one weight in the model, but their shapes are {list(tensor.shape)}, "
                f"{list(original.shape)}"
            )
        # Without values, as on the meta device, there is nothing to compare.
        if not tensor.is_meta and not torch.equal(tensor, original):
            raise ArtifactError(f"{names} are one weight in the model, but their values differ")
    return once
