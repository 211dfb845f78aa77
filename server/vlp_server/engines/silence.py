"""For how long nothing has come back while something was asked."""

from __future__ import annotations

from collections.abc import Callable


class Silence:
    """Counts the time in which calls were under way and no answer came; time without calls is none.

    Callers who give up one after the other stop no clock: a server that hangs is silent however short their patience
    is, and one that is merely slow is not, for something comes back now and then.

    Args:
        clock: monotonic seconds.

    Attributes:
        in_flight: calls under way.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counted = 0.0
        self._since = 0.0
        self.in_flight = 0

    def begin(self) -> None:
        """A call goes out."""
        if not self.in_flight:
            self._since = self._clock()
        self.in_flight += 1

    def end(self) -> None:
        """A call is over, whoever ended it."""
        self.in_flight -= 1
        if not self.in_flight:
            self._counted += self._clock() - self._since

    def heard(self) -> None:
        """Something came back."""
        self._counted = 0.0
        self._since = self._clock()

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return self._counted + (self._clock() - self._since if self.in_flight else 0.0)
