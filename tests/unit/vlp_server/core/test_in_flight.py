import asyncio

import pytest
from service_rig import settle
from vlp_server.core.in_flight import InFlight


async def test_empty_is_at_once_where_nobody_is():
    await asyncio.wait_for(InFlight().drained(), 1)


async def test_the_last_one_to_leave_is_waited_for():
    in_flight = InFlight()
    first, second = in_flight.enter(), in_flight.enter()
    first.__enter__()
    second.__enter__()
    waiting = asyncio.create_task(in_flight.drained())
    first.__exit__(None, None, None)
    await settle()
    assert (in_flight.count, waiting.done()) == (1, False)
    second.__exit__(None, None, None)
    await asyncio.wait_for(waiting, 1)


async def test_who_leaves_by_an_error_has_left():
    in_flight = InFlight()
    with pytest.raises(ValueError, match="x"), in_flight.enter():
        raise ValueError("x")
    assert in_flight.count == 0


async def test_who_enters_before_the_waiting_one_looks_is_waited_for_too():
    in_flight = InFlight()
    with in_flight.enter():
        waiting = asyncio.create_task(in_flight.drained())
        await settle()
    with in_flight.enter():
        await settle()
        assert not waiting.done()
    await asyncio.wait_for(waiting, 1)
