import asyncio

import pytest
from vlp_server.core.fan_out import all_or_first_error, each_outcome
from vlp_spec.errors import DeadlineError, InferenceError


async def test_no_more_than_the_limit_are_under_way_and_results_keep_their_order():
    under_way = most = 0

    async def work(item):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.001 * (item % 3))
        under_way -= 1
        return item * 2

    assert await all_or_first_error(range(20), work, 4) == [item * 2 for item in range(20)]
    assert most == 4
    assert await all_or_first_error([], work) == []


async def test_the_first_error_ends_the_others():
    ended = []

    async def work(item):
        if item == 1:
            raise DeadlineError("late")
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(item)

    with pytest.raises(DeadlineError):
        await all_or_first_error(range(3), work)
    assert sorted(ended) == [0, 2]


async def test_each_item_has_its_own_outcome_but_a_bug_is_nobody_s():
    async def work(item):
        if item == 1:
            raise InferenceError("this one")
        if item == 9:
            raise ZeroDivisionError
        return item

    first, second, third = await each_outcome([0, 1, 2], work, 2)
    assert (first, third) == (0, 2)
    assert isinstance(second, InferenceError)
    with pytest.raises(ZeroDivisionError):
        await each_outcome([0, 9], work)
