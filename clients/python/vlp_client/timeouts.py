"""How long a client waits."""

from __future__ import annotations

import time
from dataclasses import dataclass

from vlp_client.errors import TimeoutError

# What a server needs to say that a deadline has passed, and the way back.
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a client waits, in seconds.

    Attributes:
        connect_s: for a connection.
        read_s: for each wait for bytes of an answer.
        total_s: for a call with all of its tries and the waits between them; None: as long as it takes. Over HTTP it
            is looked at whenever bytes arrive, so that an answer which arrives in drops ends in time, too.
    """

    connect_s: float = 10.0
    read_s: float = 60.0
    total_s: float | None = None

    @staticmethod
    def of(given: float | Timeouts) -> Timeouts:
        """What a number means: so long for each wait for bytes, and for a connection at most 10 s."""
        return given if isinstance(given, Timeouts) else Timeouts(min(given, Timeouts().connect_s), given)


@dataclass(frozen=True, slots=True)
class Span:
    """The time that a call has.

    Attributes:
        end: on the monotonic clock, after which this client gives up; None: never.
        deadline_end: on the monotonic clock, after which the server shall stop; None: the server's own default.
    """

    timeouts: Timeouts
    end: float | None
    deadline_end: float | None

    @staticmethod
    def starting(timeouts: Timeouts, deadline_s: float | None, patience_s: float | None) -> Span:
        """From now on."""
        now = time.monotonic()
        read_s = timeouts.read_s if patience_s is None else patience_s
        if deadline_s is not None:
            read_s = min(read_s, deadline_s + _GRACE_S)
        return Span(
            Timeouts(timeouts.connect_s, read_s, timeouts.total_s),
            None if timeouts.total_s is None else now + timeouts.total_s,
            None if deadline_s is None else now + deadline_s,
        )

    @property
    def connect_s(self) -> float:
        """For a connection, from now."""
        return self._within(self.timeouts.connect_s)

    @property
    def read_s(self) -> float:
        """For each wait for bytes, from now."""
        return self._within(self.timeouts.read_s)

    @property
    def deadline_s(self) -> float | None:
        """What the server has left; at least a millisecond."""
        left = None if self.deadline_end is None else self.deadline_end - time.monotonic()
        own = None if self.end is None else self.end - time.monotonic()
        known = [seconds for seconds in (left, own) if seconds is not None]
        return max(0.001, min(known)) if known else None

    def check(self) -> None:
        """Nothing while there is time.

        Raises:
            TimeoutError: there is none left.
        """
        if self.end is not None and time.monotonic() >= self.end:
            raise TimeoutError(f"no answer within {self.timeouts.total_s} s")

    def holds(self, wait_s: float) -> bool:
        """Whether there is time left after a wait."""
        ends = [end for end in (self.end, self.deadline_end) if end is not None]
        return not ends or time.monotonic() + wait_s < min(ends)

    def _within(self, seconds: float) -> float:
        return seconds if self.end is None else max(0.001, min(seconds, self.end - time.monotonic()))
