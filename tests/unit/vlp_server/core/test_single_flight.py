import asyncio

import pytest
from vlp_server.core.single_flight import SingleFlight


class Work:
    def __init__(self):
        self.starts, self.go = 0, asyncio.Event()

    async def __call__(self):
        self.starts += 1
        await self.go.wait()
        return self.starts


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_identical_work_is_done_once_and_later_work_anew():
    flights, work = SingleFlight(), Work()
    tasks = [asyncio.create_task(flights.run("k", work)) for _ in range(3)]
    await settle()
    work.go.set()
    assert await asyncio.gather(*tasks) == [1, 1, 1]
    assert await flights.run("k", work) == 2


async def test_other_keys_are_other_work():
    flights, work = SingleFlight(), Work()
    work.go.set()
    assert sorted(await asyncio.gather(flights.run("a", work), flights.run("b", work))) == [1, 2]


async def test_the_one_who_started_it_may_leave():
    flights, work = SingleFlight(), Work()
    first = asyncio.create_task(flights.run("k", work))
    await settle()
    second = asyncio.create_task(flights.run("k", work))
    await settle()
    first.cancel()
    await settle()
    work.go.set()
    assert await second == 1
    assert first.cancelled()


async def test_the_last_one_who_leaves_stops_it_and_a_newcomer_starts_anew():
    flights, cancelled = SingleFlight(), []

    async def endless():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    tasks = [asyncio.create_task(flights.run("k", endless)) for _ in range(2)]
    await settle()
    for task in tasks:
        task.cancel()
    await settle()
    assert cancelled == [True]
    work = Work()
    work.go.set()
    assert await flights.run("k", work) == 1


async def test_an_error_reaches_everyone_and_is_not_kept():
    flights = SingleFlight()

    async def fails():
        await asyncio.sleep(0)
        raise ValueError("x")

    results = await asyncio.gather(*(flights.run("k", fails) for _ in range(2)), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]
    work = Work()
    work.go.set()
    with pytest.raises(ValueError, match="x"):
        await flights.run("k", fails)
    assert await flights.run("k", work) == 1
