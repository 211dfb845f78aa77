"""The learning rate over a run."""

from __future__ import annotations

import math


def lr_factor(progress: float, schedule: str, warmup: float) -> float:
    """Factor on the peak rate.

    Args:
        progress: share of the run that is done, 0 to 1.
        schedule: "cosine", "linear" (both end at 0) or "constant".
        warmup: share of the run in which the rate rises from 0.

    Returns:
        0 to 1.
    """
    if progress < warmup:
        return progress / warmup
    if schedule == "constant":
        return 1.0
    rest = min(1.0, (progress - warmup) / (1.0 - warmup))
    return 1.0 - rest if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * rest))
