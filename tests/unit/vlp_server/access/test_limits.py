from __future__ import annotations

from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry
from vlp_server.access import limits as limits_module
from vlp_server.access.keys import AccessKey, Role
from vlp_server.access.limit_figures import LimitFigures
from vlp_server.access.limits import AccessLimits
from vlp_server.access.quota import OwnQuota, Quota
from vlp_spec.errors import RateLimitedError


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Rig:
    def __init__(self, **quota: float) -> None:
        self.clock = Clock()
        self.registry = CollectorRegistry()
        self.limits = AccessLimits(Quota(**quota), figures=LimitFigures(self.registry), now=self.clock)

    def ask(self, key: AccessKey | None, cost: float) -> float:
        """Ask and be answered at once; the seconds to wait where it is refused."""
        try:
            with self.limits.admit(key, cost):
                return 0.0
        except RateLimitedError as error:
            return error.retry_after_s

    def figure(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def key(name: str, **own: float) -> AccessKey:
    return AccessKey(name, Role.READ, name.encode(), OwnQuota(**own))


def test_without_bounds_everything_is_let_in() -> None:
    rig = Rig()
    assert [rig.ask(None, 1e9) for _ in range(3)] == [0.0] * 3
    assert rig.limits.state(None) is None


def test_a_caller_pays_and_waits_for_what_it_lacks() -> None:
    rig = Rig(rate=10.0, burst=100.0)
    laptop = key("laptop")
    assert rig.ask(laptop, 100.0) == 0.0
    assert rig.ask(laptop, 50.0) == 5.0
    rig.clock.now_s += 5.0
    assert rig.ask(laptop, 50.0) == 0.0


def test_callers_have_buckets_of_their_own_and_those_without_a_key_share_one() -> None:
    rig = Rig(rate=10.0, burst=100.0)
    assert rig.ask(key("laptop"), 100.0) == 0.0
    assert rig.ask(key("robot"), 100.0) == 0.0
    assert rig.ask(None, 60.0) == 0.0
    assert rig.ask(None, 60.0) == 2.0


def test_a_key_s_own_quota_counts_and_follows_its_file() -> None:
    rig = Rig(rate=10.0)
    assert rig.ask(key("slow", rate=1.0), 10.0) == 0.0
    assert rig.ask(key("slow", rate=1.0), 1.0) == 1.0
    assert rig.ask(key("slow", rate=0.0), 1e6) == 0.0


def test_what_is_refused_costs_nothing() -> None:
    rig = Rig(rate=10.0, burst=100.0)
    assert rig.ask(None, 90.0) == 0.0
    assert [rig.ask(None, 20.0) for _ in range(5)] == [1.0] * 5


def test_cost_under_way_is_bounded_and_given_back_also_by_faults() -> None:
    rig = Rig(concurrency=100.0)
    laptop = key("laptop")
    with rig.limits.admit(laptop, 60.0):
        assert rig.ask(laptop, 50.0) == 1.0
        assert rig.ask(laptop, 40.0) == 0.0
        assert rig.ask(key("robot"), 100.0) == 0.0
    with pytest.raises(ValueError, match="why"), rig.limits.admit(laptop, 60.0):
        raise ValueError("why")
    assert rig.ask(laptop, 100.0) == 0.0


def test_one_that_is_larger_than_the_quota_is_let_in_alone() -> None:
    rig = Rig(concurrency=100.0)
    with rig.limits.admit(None, 10.0) as admitted:
        admitted.charge(500.0)
        assert rig.ask(None, 1.0) == 1.0
    under_way = pytest.raises(RateLimitedError, match="under way")
    with rig.limits.admit(None, 10.0), rig.limits.admit(None, 10.0) as second, under_way:
        second.charge(500.0)


def test_fractions_leave_nothing_over() -> None:
    rig = Rig(concurrency=1.0)
    for _ in range(10):
        with rig.limits.admit(None, 0.1), rig.limits.admit(None, 0.2), rig.limits.admit(None, 0.3):
            assert rig.ask(None, 0.5) == 1.0
        assert rig.ask(None, 5.0) == 0.0
    assert rig.figure("vlpserve_key_cost_under_way", key="") == 0.0


def test_the_rest_is_paid_when_it_is_known() -> None:
    rig = Rig(rate=10.0, burst=100.0)
    with rig.limits.admit(None, 10.0) as admitted:
        admitted.charge(80.0)
        with pytest.raises(RateLimitedError) as caught:
            admitted.charge(30.0)
    # Sent again, it pays for all of it: more than the bucket holds, so a full one is waited for.
    assert caught.value.retry_after_s == 9.0
    assert "a cost of 10 a second" in caught.value.message
    state = rig.limits.state(None)
    assert state is not None
    assert (state.limit, state.remaining, state.reset_s) == (100.0, 10.0, 9.0)


def test_figures_have_the_name_of_the_key() -> None:
    rig = Rig(rate=10.0, burst=100.0, concurrency=100.0)
    laptop = key("laptop")
    with rig.limits.admit(laptop, 60.0):
        assert rig.figure("vlpserve_key_cost_under_way", key="laptop") == 60.0
        assert rig.ask(laptop, 50.0) > 0
    assert rig.ask(laptop, 50.0) > 0
    assert rig.figure("vlpserve_key_cost_total", key="laptop") == 60.0
    assert rig.figure("vlpserve_key_cost_under_way", key="laptop") == 0.0
    assert rig.figure("vlpserve_key_refused_total", key="laptop", limit="concurrency") == 1.0
    assert rig.figure("vlpserve_key_refused_total", key="laptop", limit="rate") == 1.0


def test_callers_of_whom_nothing_is_remembered_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "_FIRST_SWEEP", 10)
    rig = Rig(rate=10.0, burst=100.0)
    with ExitStack() as held:
        held.enter_context(rig.limits.admit(key("busy"), 1.0))
        for number in range(1000):
            assert rig.ask(key(f"k{number}"), 100.0) == 0.0
            rig.clock.now_s += 10.0
        assert rig.ask(key("k999"), 100.0) == 0.0
        assert len(rig.limits._accounts) <= 21
        assert rig.figure("vlpserve_key_cost_total", key="k0") is None
        assert rig.figure("vlpserve_key_cost_total", key="busy") == 1.0


def test_a_part_that_is_done_is_under_way_no_more() -> None:
    limits = AccessLimits(Quota(concurrency=100))
    with limits.admit(None, 10) as long, limits.admit(None, 10) as other:
        with long.part() as part:
            part.charge(80)
            with pytest.raises(RateLimitedError):
                other.charge(20)
        other.charge(20)


def test_parts_of_one_request_share_the_bound_as_requests_do() -> None:
    limits = AccessLimits(Quota(concurrency=100))
    with limits.admit(None) as long:
        with long.part() as first:
            first.charge(500)  # nothing else is under way
            first.charge(1)
            with long.part() as second, pytest.raises(RateLimitedError):
                second.charge(1)
        with long.part() as third:
            third.charge(500)
        long.charge(200)


def test_small_parts_are_under_way_side_by_side() -> None:
    limits = AccessLimits(Quota(concurrency=100))
    with limits.admit(None) as long, ExitStack() as parts:
        for _ in range(3):
            parts.enter_context(long.part()).charge(30)
        with pytest.raises(RateLimitedError):
            parts.enter_context(long.part()).charge(30)
