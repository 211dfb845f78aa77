"""The closed loop: each caller asks, waits for its answer, and asks again; every request is noted when it starts."""

from __future__ import annotations

import time
from dataclasses import dataclass

import gevent

from vlp_loadtest.measures import UNANSWERED, Measured


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A request that is under way.

    Attributes:
        task: what it asks.
        due_s: when it was begun, in seconds since the start.
    """

    task: str
    due_s: float


class ClosedLoop:
    """Notes what callers ask, so that a request without an answer is counted, too.

    Attributes:
        started: when callers began, by time.perf_counter.
        over: whether nothing more is to be asked.
        measured: what became of requests.
    """

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.over = False
        self.measured: list[Measured] = []
        self._ended = 0.0
        self._under_way: dict[int, Asked] = {}

    @property
    def duration_s(self) -> float:
        """How long callers asked."""
        return (self._ended or time.perf_counter()) - self.started

    def start(self) -> None:
        """Callers begin now."""
        self.started, self._ended, self.over = time.perf_counter(), 0.0, False

    def begin(self, task: str) -> Asked:
        """Note a request that is about to be sent; to be given to `finish`, or to `forget`."""
        asked = Asked(task, time.perf_counter() - self.started)
        self._under_way[id(asked)] = asked
        return asked

    def finish(self, asked: Asked, sent: float, done: float, fault: str | None) -> None:
        """Note what became of a request; one that `end` has given up stays what it is there.

        Args:
            sent: when, by time.perf_counter.
            done: as `sent`.
        """
        if self._under_way.pop(id(asked), None) is not None:
            due_s = sent - self.started
            self.measured.append(Measured(asked.task, due_s, due_s, due_s, done - self.started, fault))

    def forget(self, asked: Asked) -> None:
        """Its caller was taken away while others go on."""
        self._under_way.pop(id(asked), None)

    def end(self, grace_s: float) -> None:
        """Let nothing more be asked, wait so long for what is under way, and count the rest as unanswered."""
        if not self.over:
            self.over, self._ended = True, time.perf_counter()
        until = time.perf_counter() + grace_s
        while self._under_way and time.perf_counter() < until:
            gevent.sleep(0.01)
        for asked in self._under_way.values():
            self.measured.append(Measured(asked.task, asked.due_s, asked.due_s, None, None, UNANSWERED))
        self._under_way.clear()
