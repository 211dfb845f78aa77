import asyncio

import pytest
from service_rig import settle
from vlp_server.core.occupancy import Occupancy


async def test_empty_is_at_once_where_nobody_is():
    await asyncio.wait_for(Occupancy().empty(), 1)


async def test_the_last_one_to_leave_is_waited_for():
    occupancy = Occupancy()
    first, second = occupancy.enter(), occupancy.enter()
    first.__enter__()
    second.__enter__()
    waiting = asyncio.create_task(occupancy.empty())
    first.__exit__(None, None, None)
    await settle()
    assert (occupancy.inside, waiting.done()) == (1, False)
    second.__exit__(None, None, None)
    await asyncio.wait_for(waiting, 1)


async def test_who_leaves_by_an_error_has_left():
    occupancy = Occupancy()
    with pytest.raises(ValueError, match="x"), occupancy.enter():
        raise ValueError("x")
    assert occupancy.inside == 0


async def test_who_enters_before_the_waiting_one_looks_is_waited_for_too():
    occupancy = Occupancy()
    with occupancy.enter():
        waiting = asyncio.create_task(occupancy.empty())
        await settle()
    with occupancy.enter():
        await settle()
        assert not waiting.done()
    await asyncio.wait_for(waiting, 1)
