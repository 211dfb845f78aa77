"""Whether a caller may ask so much now. Knows nothing of HTTP or gRPC: every door asks here, before and after reading.

One process counts for itself: with several processes a caller has its quota in each of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from vlp_spec.errors import RateLimitedError

from vlp_server.access.keys import AccessKey
from vlp_server.access.limit_figures import LimitFigures
from vlp_server.access.prices import BASE_COST
from vlp_server.access.quota import Quota
from vlp_server.access.token_bucket import TokenBucket

# Nobody knows when a request that is under way will end.
_UNDER_WAY_RETRY_S = 1.0
_FIRST_SWEEP = 1024
# Sums of fractions may be off by less; what is under way costs more.
_LEFT_OVER = 0.5
NO_KEY = ""
"""Name of the account that all callers without a key share."""


@dataclass(frozen=True, slots=True)
class RateState:
    """How a caller's bucket stands.

    Attributes:
        limit: cost that it holds when full.
        remaining: cost that can be asked at once now, 0 or more.
        reset_s: seconds until it is full.
    """

    limit: float
    remaining: float
    reset_s: float


@dataclass(slots=True)
class _Account:
    """What is known of one caller."""

    name: str
    quota: Quota
    bucket: TokenBucket | None
    requests: int = 0
    under_way: float = 0.0

    def is_idle(self, now: float) -> bool:
        """Whether forgetting it would change nothing."""
        return not self.requests and (self.bucket is None or self.bucket.level(now) >= self.bucket.size)


@dataclass(slots=True)
class Admitted:
    """A request that was let in, for as long as it lasts."""

    _limits: AccessLimits
    _account: _Account
    _whole: Admitted | None = None
    cost: float = field(default=0.0, init=False)

    def charge(self, cost: float) -> None:
        """Pay for what turned out to be asked, beside what was paid before.

        Args:
            cost: text tokens + patches; see `prices`.

        Raises:
            RateLimitedError: the caller asks too much; carries the time after which it may be asked.
        """
        own = self.cost + (0.0 if self._whole is None else self._whole.cost)
        self._limits._pay(self._account, cost, held=self.cost, own=own)
        self.cost += cost

    @contextmanager
    def part(self) -> Iterator[Admitted]:
        """A part of the request by itself: what is paid for it is under way until its own end."""
        part = Admitted(self._limits, self._account, self)
        try:
            yield part
        finally:
            self._limits._end(self._account, part.cost)


class AccessLimits:
    """Counts what each caller asks. Used from one thread.

    Args:
        defaults: of keys that have no quota of their own, and of all callers without a key together.
        figures: told of every payment and refusal.
        now: seconds of a clock that never goes back.
    """

    def __init__(
        self, defaults: Quota, *, figures: LimitFigures | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._defaults = defaults
        self._figures = figures or LimitFigures(None)
        self._now = now
        self._accounts: dict[str, _Account] = {}
        self._sweep_at = _FIRST_SWEEP

    @contextmanager
    def admit(self, key: AccessKey | None, cost: float = BASE_COST) -> Iterator[Admitted]:
        """Let a request in for the time of its answer.

        Args:
            key: the caller's; None: without one.
            cost: what is known of it so far; `Admitted.charge` takes the rest as it becomes known.

        Raises:
            RateLimitedError: the caller asks too much; carries the time after which it may be asked.
        """
        account = self._account(key)
        admitted = Admitted(self, account)
        account.requests += 1
        try:
            admitted.charge(cost)
            yield admitted
        finally:
            account.requests -= 1
            # Nothing is under way at the end, whatever sums of fractions leave over.
            account.under_way = account.under_way - admitted.cost if account.requests else 0.0
            self._figures.under_way(account.name, account.under_way)

    def state(self, key: AccessKey | None) -> RateState | None:
        """How a caller's bucket stands; None without a rate."""
        bucket = self._account(key).bucket
        if bucket is None:
            return None
        now = self._now()
        return RateState(bucket.size, max(0.0, bucket.level(now)), bucket.full_in_s(now))

    def _pay(self, account: _Account, cost: float, *, held: float, own: float) -> None:
        """Let `cost` be under way beside what this request, or part, `held` before, and take it from the bucket.

        Args:
            own: what is under way of this request itself; of a part: with what the whole paid, without other parts.
        """
        bound = account.quota.concurrency
        # One that is alone may be larger than the quota: it must be possible at all.
        others = account.requests > 1 or account.under_way > own + _LEFT_OVER
        if bound and others and account.under_way + cost > bound:
            self._figures.refused(account.name, "concurrency")
            raise RateLimitedError(
                f"requests of cost {account.under_way:.0f} of yours are under way, this one has {held + cost:.0f}, and "
                f"{bound:g} may be at a time; wait for one to end",
                retry_after_s=_UNDER_WAY_RETRY_S,
            )
        bucket, now = account.bucket, self._now()
        if bucket is not None:
            if bucket.wait_s(cost, now):
                # Sent again, it pays anew for what it has paid.
                wait_s = bucket.wait_s(held + cost, now)
                self._figures.refused(account.name, "rate")
                raise RateLimitedError(
                    f"you may ask for a cost of {bucket.rate:g} a second, {bucket.size:g} at once, and this request "
                    f"needs {cost:.0f} more; send it again in {wait_s:.1f} s",
                    retry_after_s=wait_s,
                )
            bucket.take(cost, now)
        account.under_way += cost
        self._figures.paid(account.name, cost)
        self._figures.under_way(account.name, account.under_way)

    def _end(self, account: _Account, cost: float) -> None:
        account.under_way -= cost
        self._figures.under_way(account.name, account.under_way)

    def _account(self, key: AccessKey | None) -> _Account:
        name = NO_KEY if key is None else key.name
        quota = self._defaults if key is None else key.quota.over(self._defaults)
        account = self._accounts.get(name)
        if account is None:
            if len(self._accounts) >= self._sweep_at:
                self._sweep()
            account = self._accounts[name] = _Account(name, quota, self._bucket(quota))
        elif account.quota != quota:
            # The keys file was changed: what is under way stays counted, the new bucket is full.
            account.quota, account.bucket = quota, self._bucket(quota)
        return account

    def _bucket(self, quota: Quota) -> TokenBucket | None:
        return TokenBucket(quota.rate, quota.bucket_size, self._now()) if quota.rate else None

    def _sweep(self) -> None:
        """Forget callers of whom nothing is remembered; keys come and go while a server runs for months."""
        now = self._now()
        for account in [account for account in self._accounts.values() if account.is_idle(now)]:
            del self._accounts[account.name]
            self._figures.forget(account.name)
        self._sweep_at = max(_FIRST_SWEEP, 2 * len(self._accounts))
