"""Sizes that items are padded to before they go to a server that puts only rows of equal shapes into a batch."""

from __future__ import annotations

from collections.abc import Mapping

from vlp_pipeline.pipeline import PAIR_PREFIXES, TEXT_AXIS, Buckets
from vlp_spec.deployment import AxisLimit

# A padded entry costs what a real one does; more sizes waste fewer of them and make fewer rows equal.
_SIZES = 6
_ROUND = 4
_PADDED = (TEXT_AXIS, *(f"{prefix}{axis}" for prefix in ("", *PAIR_PREFIXES) for axis in ("patches", "regions")))


def buckets_of(axes: Mapping[str, AxisLimit]) -> Buckets:
    """Rising sizes of each axis whose padding a mask hides: even steps up to the largest, rounded to fours."""
    return {name: _sizes(limit) for name, limit in axes.items() if name in _PADDED}


def _sizes(limit: AxisLimit) -> list[int]:
    step = max(_ROUND, -(-limit.max // (_SIZES * _ROUND)) * _ROUND)
    return sorted({min(limit.max, size) for size in range(step, limit.max + step, step) if size >= limit.min})
