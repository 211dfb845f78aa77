"""The learning rate over a run."""

from __future__ import annotations

import math

SCHEDULES = ("cosine", "linear", "trapezoid", "constant")


def lr_factor(progress: float, schedule: str, warmup: float, decay: float = 0.3) -> float:
    """Factor on the peak rate.

    Args:
        progress: share of the run that is done, 0 to 1.
        schedule: "cosine" and "linear" fall from the peak to 0; "trapezoid" stays at the peak and falls linearly at
            the end, so that a run can be lengthened before it falls; "constant" stays.
        warmup: share of the run in which the rate rises from 0.
        decay: share of the run in which a trapezoid falls.

    Returns:
        0 to 1.

    Source of the trapezoid: Hägele et al. 2024 (arXiv:2405.18392).
    """
    if progress < warmup:
        return progress / warmup
    if schedule == "constant":
        return 1.0
    if schedule == "trapezoid":
        return min(1.0, max(0.0, 1.0 - progress) / decay)
    rest = min(1.0, (progress - warmup) / (1.0 - warmup))
    return 1.0 - rest if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * rest))
