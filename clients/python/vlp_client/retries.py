"""When a call is sent again, and how long is waited before."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from vlp_client.calls import Call, Repeat
from vlp_client.errors import ConnectError, ServerError, VlpClientError

_FULL = (429, 503)
_OFTEN = 1_000_000


@dataclass(frozen=True, slots=True)
class Retries:
    """How a client goes on where a server is full, or a connection fails.

    Sent again are: calls that the server refused with 429 or 503, and calls whose connection failed before anything of
    an answer was received. A write is sent again only with its idempotency key; what would do something else the second
    time only where it surely did not arrive. A call that ran into its deadline is not sent again.

    The n-th wait is `first_wait_s` doubled n times, at most `longest_wait_s`, of which chance takes up to a half away;
    where the server says Retry-After it is at least that long. No wait goes beyond the deadline of the call.

    Attributes:
        attempts: tries altogether, the first one among them.
        broken_attempts: of these, how many may end in a failed connection.
        first_wait_s: before the second try.
        longest_wait_s: of a single wait that the client chooses.
        patience_s: of all waits of a call together; a server that asks for more is not waited for.
        bulk_patience_s: the same for a call of a bulk run, which nobody watches: there a server that is full is asked
            as often as it takes.
    """

    attempts: int = 4
    broken_attempts: int = 4
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0
    patience_s: float = 60.0
    bulk_patience_s: float = 600.0

    def __post_init__(self) -> None:
        if min(self.attempts, self.broken_attempts) < 1 or min(self.first_wait_s, self.longest_wait_s) < 0:
            raise ValueError(f"{self}: expected at least one attempt, and no wait below 0")

    def for_bulk(self) -> Retries:
        """The same for the calls of a bulk run."""
        return replace(self, attempts=max(self.attempts, _OFTEN), patience_s=self.bulk_patience_s)


class Attempts:
    """The tries of one call.

    Args:
        policy: None never sends again.
        call: what is sent.
        chance: -> 0 to 1.
    """

    def __init__(self, policy: Retries | None, call: Call[Any], *, chance: Callable[[], float] = random.random) -> None:
        self._policy, self._call, self._chance = policy, call, chance
        self._tried, self._broken, self._waited_s = 0, 0, 0.0
        self.maybe_done = False
        """Whether an earlier try may have been carried out."""

    def wait_after(self, error: VlpClientError) -> float | None:
        """Seconds until the next try; None where there is none."""
        policy = self._policy
        if policy is None or not self._may_repeat(error):
            return None
        self._tried += 1
        # A server that is gone is not waited for as long as one that is full.
        self._broken += isinstance(error, ConnectError)
        if self._tried >= policy.attempts or self._broken >= policy.broken_attempts:
            return None
        wait_s = min(policy.first_wait_s * 2.0 ** min(self._tried - 1, 60), policy.longest_wait_s)
        wait_s *= 1.0 - self._chance() / 2
        if isinstance(error, ServerError) and error.retry_after_s is not None:
            wait_s = max(wait_s, error.retry_after_s * (1.0 + self._chance() / 10))
        self._waited_s += wait_s
        if self._waited_s > policy.patience_s:
            return None
        self.maybe_done = self.maybe_done or (isinstance(error, ConnectError) and error.sent)
        return wait_s

    def _may_repeat(self, error: VlpClientError) -> bool:
        if isinstance(error, ConnectError):
            return not error.sent or not (error.answered or self._call.repeat is Repeat.NEVER)
        full = isinstance(error, ServerError) and error.status in _FULL
        return full and self._call.repeat is not Repeat.NEVER
