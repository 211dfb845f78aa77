"""Shapes of a TensorRT optimisation profile, from a deployment's axes. Knows nothing of TensorRT itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlp_spec.deployment import AxisLimit
from vlp_spec.errors import ArtifactError
from vlp_spec.tensors import TensorSpec

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ProfileShapes:
    """The smallest, the tuned and the largest shape of one input."""

    min: Shape
    opt: Shape
    max: Shape


def profile_shapes(inputs: Sequence[TensorSpec], axes: Mapping[str, AxisLimit]) -> dict[str, ProfileShapes]:
    """Input name -> its shapes.

    Raises:
        ArtifactError: an input names an axis without limits, or limits are out of order.
    """
    for name, limit in axes.items():
        if not 1 <= limit.min <= limit.opt <= limit.max:
            raise ArtifactError(f"axis {name!r}: expected 1 <= min <= opt <= max, got {limit}")
    shapes = {}
    for spec in inputs:
        if missing := sorted({dim for dim in spec.shape if isinstance(dim, str)} - set(axes)):
            raise ArtifactError(f"input {spec.name!r}: no limits for axis {', '.join(missing)}")
        shapes[spec.name] = ProfileShapes(
            *(
                tuple(dim if isinstance(dim, int) else int(getattr(axes[dim], size)) for dim in spec.shape)
                for size in ("min", "opt", "max")
            )
        )
    return shapes
