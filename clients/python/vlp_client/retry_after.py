"""When a server may be asked again: Retry-After, and what stands for it elsewhere."""

from __future__ import annotations

import math
import time
from email.utils import parsedate_to_datetime
from typing import Any


def seconds_of(told: Any) -> float | None:
    """Seconds from now, 0 or more; None for what is none.

    Args:
        told: a number, a text of one, or a date as HTTP has them.
    """
    try:
        seconds = float(told)
    except (TypeError, ValueError, OverflowError):
        seconds = _until(told)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(told: Any) -> float:
    try:
        return parsedate_to_datetime(told).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError, AttributeError, IndexError):
        return math.nan
