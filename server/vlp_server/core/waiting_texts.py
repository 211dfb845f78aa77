"""What waits for a decoder's rounds: hastier lanes and earlier deadlines first. Pure; time is an argument."""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from vlp_spec.tasks import Lane

from vlp_server.core.drain_rate import DrainRate
from vlp_server.core.queue_room import check_room
from vlp_server.core.settings import AdmissionSettings
from vlp_server.core.urgency import Urgency


class Wanted(Protocol):
    """What can wait: a text to write, or answers to weigh. Compared by identity."""

    @property
    def rows(self) -> int:
        """Texts side by side."""
        ...

    @property
    def positions(self) -> int:
        """Tokens of the longest."""
        ...


W = TypeVar("W", bound=Wanted)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[W]):
    text: W
    lane: Lane
    deadline: float
    order: tuple[float, int]
    cost: int


class WaitingTexts(Generic[W]):
    """A queue of one decoder.

    Args:
        admission: what may wait; a text's cost is the tokens that it may have, times its rows.
        bulk_every: while bulk texts wait, every n-th that joins is one of them.
    """

    def __init__(self, admission: AdmissionSettings, bulk_every: int) -> None:
        self._admission = admission
        self._bulk_every = bulk_every
        self._lanes: dict[Lane, list[_Waiting[W]]] = {lane: [] for lane in Lane}
        self._sequence = itertools.count()
        self._joined_without_bulk = 0
        self.cost = 0
        """Of all that waits."""
        self.drain_rate = DrainRate()
        """Rows a second of the decoder."""

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def add(self, text: W, urgency: Urgency) -> None:
        """Let a text wait.

        Raises:
            OverloadedError: too much waits already.
        """
        cost = text.rows * text.positions
        check_room(
            self._admission,
            urgency.lane,
            held=self.cost,
            cost=cost,
            retry_after_s=self.retry_after_s,
            told=f"{len(self)} texts of cost {self.cost} wait in all lanes",
        )
        order = urgency.deadline, next(self._sequence)
        bisect.insort(
            self._lanes[urgency.lane], _Waiting(text, urgency.lane, urgency.deadline, order, cost), key=_order
        )
        self.cost += cost

    def take(self, rows: int, *, alone: bool) -> list[W]:
        """Take out those that join now.

        Args:
            rows: room, beams counted.
            alone: nothing is under way: the first one may join even where it needs more room than there is.
        """
        taken: list[W] = []
        while len(self):
            lane = self._next_lane()
            first = self._lanes[lane][0]
            if first.text.rows > rows and not (alone and not taken):
                break
            del self._lanes[lane][0]
            self.cost -= first.cost
            rows -= first.text.rows
            bulk_waits = bool(self._lanes[Lane.BULK]) and lane is not Lane.BULK
            self._joined_without_bulk = self._joined_without_bulk + 1 if bulk_waits else 0
            taken.append(first.text)
        return taken

    def remove(self, text: W) -> bool:
        """Take a text out; False when it does not wait."""
        for lane in self._lanes.values():
            for index, waiting in enumerate(lane):
                if waiting.text is text:
                    self.cost -= waiting.cost
                    del lane[index]
                    return True
        return False

    def drop_expired(self, now: float) -> list[W]:
        """Take out every text whose deadline has come."""
        dropped = []
        for lane in self._lanes.values():
            count = bisect.bisect_right(lane, now, key=lambda waiting: waiting.deadline)
            dropped += lane[:count]
            del lane[:count]
        self.cost -= sum(waiting.cost for waiting in dropped)
        return [waiting.text for waiting in dropped]

    def clear(self) -> list[W]:
        """Take out all."""
        everything = [waiting.text for lane in self._lanes.values() for waiting in lane]
        for lane in self._lanes.values():
            lane.clear()
        self.cost = 0
        return everything

    def retry_after_s(self) -> float:
        """Seconds after which what waits now should have been written, 1 to 60."""
        return self.drain_rate.seconds_for(self.cost)

    def _next_lane(self) -> Lane:
        interactive, bulk = self._lanes[Lane.INTERACTIVE], self._lanes[Lane.BULK]
        if not interactive or (bulk and self._joined_without_bulk >= self._bulk_every - 1):
            return Lane.BULK
        return Lane.INTERACTIVE


def _order(waiting: _Waiting[W]) -> tuple[float, int]:
    return waiting.order
