import pytest
from vlp_server.core.drain_rate import DrainRate


def test_unmeasured_says_a_second():
    assert DrainRate().seconds_for(10**9) == 1.0


def test_time_follows_the_measured_rate_within_its_bounds():
    rate = DrainRate()
    rate.observe(cost=100, seconds=1.0)
    assert rate.seconds_for(500) == pytest.approx(5.0)
    assert rate.seconds_for(1) == 1.0
    assert rate.seconds_for(10**6) == 60.0


def test_later_batches_count_more_and_workers_share():
    rate = DrainRate(workers=2)
    for _ in range(50):
        rate.observe(cost=100, seconds=1.0)
    for _ in range(50):
        rate.observe(cost=100, seconds=10.0)
    assert rate.seconds_for(200) == pytest.approx(10.0, rel=0.01)
