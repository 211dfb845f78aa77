"""Whether there is room in a queue that is bounded by cost; the same for every kind of queue."""

from __future__ import annotations

from collections.abc import Callable

from vlp_spec.errors import OverloadedError
from vlp_spec.tasks import Lane

from vlp_server.core.settings import AdmissionSettings


def check_room(
    admission: AdmissionSettings, lane: Lane, *, held: int, cost: int, retry_after_s: Callable[[], float], told: str
) -> None:
    """Refuse what a queue has no room for. What is alone is always taken.

    Args:
        held: cost of all that is there.
        cost: of what comes.
        retry_after_s: after which it is expected to have room.
        told: what is there, for the log.

    Raises:
        OverloadedError: it is full, for this lane.
    """
    limit = admission.max_queue_cost * (admission.bulk_share if lane is Lane.BULK else 1.0)
    if held and held + cost > limit:
        raise OverloadedError(
            "the queue of this model is full; try again later",
            retry_after_s=retry_after_s(),
            detail=f"{told}, limit {limit:.0f}",
        )
