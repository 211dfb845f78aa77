"""Vectors as they come in: checked, and normalised where the metric asks for it."""

from __future__ import annotations

import numpy as np
from vlp_spec.errors import InvalidArgumentError

from vlp_server.index.store import Metric, Vector

# Squares of larger norms do not fit in float32, and a score would be infinite.
MAX_NORM = 1e18
MIN_NORM = 1e-30


def prepare_vector(vector: Vector, dimension: int, metric: Metric) -> Vector:
    """The vector as the stores keep and compare it.

    Args:
        vector: (dimension,), of any dtype that float32 can take. Not modified.
        dimension: of the collection.
        metric: of the collection.

    Returns:
        (dimension,) float32, contiguous, a copy; L2 norm 1 for "cosine".

    Raises:
        InvalidArgumentError: another shape; not numbers; not finite; a norm over 1e18; a norm of 0 for "cosine".
    """
    try:
        array = np.array(vector, dtype=np.float32, copy=True)
    except (TypeError, ValueError, OverflowError):
        raise _fault("expected a list of numbers") from None
    if array.shape != (dimension,):
        raise _fault(f"got shape {array.shape}, expected ({dimension},)")
    if not np.isfinite(array).all():
        raise _fault("a value is NaN or infinite")
    norm = float(np.linalg.norm(array.astype(np.float64)))
    if norm > MAX_NORM:
        raise _fault(f"its norm is {norm:.3g}, at most {MAX_NORM:.0e} is allowed")
    if metric == "cosine":
        if norm < MIN_NORM:
            raise _fault("its norm is 0, so it has no direction; the collection's metric is cosine")
        array = (array.astype(np.float64) / norm).astype(np.float32)
    return np.ascontiguousarray(array)


def _fault(what: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"vector: {what}", field="vector")
