from __future__ import annotations

import pytest
from vlp_server.intake.memory import MemoryBudget
from vlp_spec.errors import OverloadedError


def test_requests_share_the_budget_and_give_it_back() -> None:
    told: list[int] = []
    budget = MemoryBudget(100, told.append)
    with budget.share() as first:
        first(60)
        with budget.share() as second:
            second(40)
            with pytest.raises(OverloadedError, match="as many bytes of requests as it takes"):
                second(1)
            with pytest.raises(OverloadedError):
                first(1)
        first(40)
    assert told == [60, 100, 60, 100, 0]


def test_one_that_is_alone_may_hold_more_than_the_budget() -> None:
    budget = MemoryBudget(10, lambda held: None)
    with budget.share() as alone:
        alone(8)
        alone(8)
        with budget.share() as other, pytest.raises(OverloadedError):
            other(1)
    with budget.share() as later:
        later(10)


def test_a_request_that_fails_gives_its_share_back() -> None:
    told: list[int] = []

    def fail() -> None:
        with MemoryBudget(10, told.append).share() as take:
            take(5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert told == [5, 0]
