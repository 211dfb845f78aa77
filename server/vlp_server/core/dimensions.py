"""Shorter vectors: the first numbers of a vector, for models that were trained so that these alone say most."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from vlp_spec.deployment import Deployment
from vlp_spec.errors import InvalidArgumentError

HEAD_KEY = "dimensions"
"""Key of `Deployment.head`: the shorter lengths that the model's vectors may be cut to."""

Vectors = NDArray[np.float32]


def shortened(deployment: Deployment, dimension: int, wanted: int | None) -> Callable[[Vectors], Vectors]:
    """How vectors get the length that a caller wants: cut and brought back to length 1 (Matryoshka representation
    learning, Kusupati et al. 2022). The result maps (items, dimension) to (items, wanted).

    Args:
        deployment: its `head` names the lengths that the model allows beside its own.
        dimension: the model's own.
        wanted: None = the model's own.

    Raises:
        InvalidArgumentError: a length that the model does not allow.
    """
    if wanted is None or wanted == dimension:
        return lambda vectors: vectors
    allowed = deployment.head.get(HEAD_KEY, [])
    if wanted not in allowed:
        lengths = ", ".join(str(length) for length in sorted({*allowed, dimension}))
        raise InvalidArgumentError(
            f"dimensions: got {wanted}, model {deployment.name!r} gives vectors of {lengths}; leave it out for "
            f"{dimension}",
            field="dimensions",
        )

    def cut(vectors: Vectors) -> Vectors:
        short = vectors[:, :wanted]
        return np.asarray(short / np.linalg.norm(short, axis=1, keepdims=True), dtype=np.float32)

    return cut
