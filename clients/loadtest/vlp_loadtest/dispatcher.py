"""The open loop: requests become due whatever the server does, and as many as are allowed to wait wait for a caller."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import gevent
from gevent.queue import Queue

from vlp_loadtest.arrivals import ArrivalProcess, arrival_times
from vlp_loadtest.measures import SHED, UNANSWERED, Measured


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that is due.

    Attributes:
        task: what it asks.
        due_s: when, in seconds since the start.
        noticed_s: when the dispatcher got to it.
    """

    task: str
    due_s: float
    noticed_s: float


class Dispatcher:
    """Hands arrivals to callers, which are greenlets that ask for them.

    Args:
        rate_per_s: arrivals a second.
        process: how they are spread.
        choose: draws the task of each.
        max_outstanding: how many may wait or be under way; one more is shed: counted, and not sent.
        chance: draws their times.
    """

    def __init__(
        self,
        rate_per_s: float,
        process: ArrivalProcess,
        choose: Callable[[], str],
        *,
        max_outstanding: int,
        chance: random.Random,
    ) -> None:
        self._times = arrival_times(rate_per_s, process, chance)
        self._choose, self._max_outstanding = choose, max_outstanding
        self._waiting: Queue[Arrival] = Queue()
        self._outstanding: dict[int, Arrival] = {}
        self._greenlet: gevent.Greenlet[..., None] | None = None
        self._started = self._ended = 0.0
        self.measured: list[Measured] = []

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._started

    @property
    def duration_s(self) -> float:
        """How long requests became due."""
        return (self._ended or time.perf_counter()) - self._started

    def start(self) -> None:
        """Let requests become due from now on; a second call changes nothing."""
        if self._greenlet is None:
            self._started = time.perf_counter()
            self._greenlet = gevent.spawn(self._run)

    def take(self) -> Arrival:
        """Wait for the next arrival; to be given to `finish` when it is done with."""
        arrival: Arrival = self._waiting.get()
        return arrival

    def finish(self, arrival: Arrival, sent_s: float, done_s: float, fault: str | None) -> None:
        """Note what became of an arrival; one that `end` has given up stays what it is there."""
        if self._outstanding.pop(id(arrival), None) is not None:
            self.measured.append(Measured(arrival.task, arrival.due_s, arrival.noticed_s, sent_s, done_s, fault))

    def stop(self) -> None:
        """Let no more requests become due."""
        if self._greenlet is not None and not self._ended:
            self._greenlet.kill()
            self._ended = time.perf_counter()

    def end(self, grace_s: float) -> None:
        """Stop, wait so long for what is outstanding, and count the rest as unanswered."""
        self.stop()
        until = time.perf_counter() + grace_s
        while self._outstanding and time.perf_counter() < until:
            gevent.sleep(0.01)
        for arrival in list(self._outstanding.values()):
            self.measured.append(Measured(arrival.task, arrival.due_s, arrival.noticed_s, None, None, UNANSWERED))
        self._outstanding.clear()

    def _run(self) -> None:
        for due_s in self._times:
            # Also where it is late already: callers have to get their turn.
            gevent.sleep(max(0.0, due_s - self.now_s))
            arrival = Arrival(self._choose(), due_s, self.now_s)
            if len(self._outstanding) >= self._max_outstanding:
                self.measured.append(Measured(arrival.task, due_s, arrival.noticed_s, None, None, SHED))
                continue
            self._outstanding[id(arrival)] = arrival
            self._waiting.put(arrival)
