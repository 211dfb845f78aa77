from __future__ import annotations

import pytest
from vlp_server.access.token_bucket import TokenBucket


def test_what_was_paid_comes_back_at_the_rate() -> None:
    bucket = TokenBucket(rate=2.0, size=10.0, now=100.0)
    assert bucket.wait_s(10.0, 100.0) == 0.0
    bucket.take(10.0, 100.0)
    assert bucket.level(100.0) == 0.0
    assert bucket.wait_s(4.0, 100.0) == 2.0
    assert bucket.wait_s(4.0, 101.5) == 0.5
    assert bucket.wait_s(4.0, 102.0) == 0.0
    assert bucket.full_in_s(102.0) == 3.0


def test_it_holds_no_more_than_its_size_however_long_it_waits() -> None:
    bucket = TokenBucket(rate=2.0, size=10.0, now=0.0)
    bucket.take(1.0, 0.0)
    assert bucket.level(1e9) == 10.0


def test_what_is_larger_than_the_bucket_is_paid_from_a_full_one_and_owed() -> None:
    bucket = TokenBucket(rate=1.0, size=10.0, now=0.0)
    bucket.take(1.0, 0.0)
    assert bucket.wait_s(30.0, 0.0) == 1.0
    bucket.take(30.0, 1.0)
    assert bucket.level(1.0) == -20.0
    assert bucket.wait_s(1.0, 1.0) == 21.0


@pytest.mark.parametrize("step", [0.001, 0.3, 7.0])
def test_over_time_no_more_is_let_through_than_rate_and_burst_allow(step: float) -> None:
    bucket, passed, now = TokenBucket(rate=5.0, size=20.0, now=0.0), 0.0, 0.0
    while now < 100.0:
        if not bucket.wait_s(3.0, now):
            bucket.take(3.0, now)
            passed += 3.0
        now += step
    assert passed <= 20.0 + 5.0 * 100.0
    assert passed >= min(3.0 * (100.0 / step - 1), 5.0 * 100.0)


def test_a_clock_that_stands_still_gives_nothing() -> None:
    bucket = TokenBucket(rate=5.0, size=5.0, now=10.0)
    bucket.take(5.0, 10.0)
    assert bucket.level(9.0) == 0.0
