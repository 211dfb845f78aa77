"""How a request to a task model ranks, and until when its caller waits: parameters of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import Lane
from vlp_spec.triton_names import LANE_PARAMETER, TIMEOUT_PARAMETER

_MAX_TIMEOUT_MS = 3_600_000
_MS = 1_000


def read_terms(given: Mapping[str, Any]) -> tuple[float | None, Lane | None]:
    """Timeout in seconds, and lane; None where the caller names none.

    Args:
        given: parameters of the request; other names are other readers'.

    Raises:
        InvalidArgumentError: one is out of range.
    """
    timeout_ms = given.get(TIMEOUT_PARAMETER)
    if timeout_ms is not None and (type(timeout_ms) is not int or not 1 <= timeout_ms <= _MAX_TIMEOUT_MS):
        raise InvalidArgumentError(
            f"{TIMEOUT_PARAMETER}: got {timeout_ms!r:.40}, expected whole milliseconds from 1 to {_MAX_TIMEOUT_MS}",
            field=TIMEOUT_PARAMETER,
        )
    lane = given.get(LANE_PARAMETER)
    if LANE_PARAMETER in given and lane not in tuple(Lane):
        raise InvalidArgumentError(
            f"{LANE_PARAMETER}: got {lane!r:.40}, expected {' or '.join(Lane)}", field=LANE_PARAMETER
        )
    return None if timeout_ms is None else timeout_ms / _MS, None if lane is None else Lane(lane)
