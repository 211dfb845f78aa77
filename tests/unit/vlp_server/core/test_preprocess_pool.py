import asyncio
import threading

import pytest
from vlp_server.core.preprocess_pool import PreprocessPool
from vlp_spec.errors import DeadlineError, UnavailableError
from vlp_spec.tasks import Lane

FAR = 10.0


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def pool(clock):
    made = PreprocessPool(1, clock)
    yield made
    made.close()


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def occupy(pool):
    entered, go = threading.Event(), threading.Event()

    def call():
        entered.set()
        go.wait(10)

    task = asyncio.create_task(pool.run(call, lane=Lane.INTERACTIVE, deadline=FAR))
    assert await asyncio.to_thread(entered.wait, 5)
    return task, go


async def test_runs_a_call_and_passes_its_error_on(pool):
    assert (await pool.run(lambda: 5, lane=Lane.BULK, deadline=FAR)).value == 5
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 / 0, lane=Lane.BULK, deadline=FAR)
    assert (await pool.run(lambda: 6, lane=Lane.BULK, deadline=FAR)).value == 6


async def test_interactive_goes_before_bulk_then_the_earliest_deadline(pool):
    busy, go = await occupy(pool)
    order = []
    tasks = [
        asyncio.create_task(pool.run(lambda n=name: order.append(n), lane=lane, deadline=deadline))
        for name, lane, deadline in [
            ("bulk", Lane.BULK, 1.0),
            ("late", Lane.INTERACTIVE, 9.0),
            ("early", Lane.INTERACTIVE, 5.0),
        ]
    ]
    await settle()
    go.set()
    await asyncio.gather(busy, *tasks)
    assert order == ["early", "late", "bulk"]


async def test_one_who_leaves_or_is_late_costs_nothing(pool, clock):
    busy, go = await occupy(pool)
    ran = []
    left = asyncio.create_task(pool.run(lambda: ran.append("left"), lane=Lane.INTERACTIVE, deadline=FAR))
    late = asyncio.create_task(pool.run(lambda: ran.append("late"), lane=Lane.INTERACTIVE, deadline=3.0))
    kept = asyncio.create_task(pool.run(lambda: ran.append("kept"), lane=Lane.INTERACTIVE, deadline=FAR))
    await settle()
    left.cancel()
    clock.now = 4.0
    go.set()
    with pytest.raises(DeadlineError):
        await late
    assert (await kept).waited_s == 4.0
    assert ran == ["kept"]
    await busy


async def test_a_caller_that_leaves_while_its_call_runs_keeps_the_thread_till_the_end(pool):
    busy, go = await occupy(pool)
    busy.cancel()
    after = asyncio.create_task(pool.run(lambda: 5, lane=Lane.INTERACTIVE, deadline=FAR))
    await settle()
    assert not after.done()
    go.set()
    assert (await after).value == 5


async def test_a_call_counts_as_running_until_it_ends_though_its_caller_left(pool, clock):
    assert pool.busy_since() is None
    clock.now = 2.0
    busy, go = await occupy(pool)
    busy.cancel()
    after = asyncio.create_task(pool.run(lambda: 5, lane=Lane.INTERACTIVE, deadline=FAR))
    await settle()
    clock.now = 3.0
    assert pool.busy_since() == 2.0
    go.set()
    await after
    await settle()
    assert pool.busy_since() is None


async def test_closing_refuses_who_waits_and_who_comes(pool):
    busy, go = await occupy(pool)
    waiting = asyncio.create_task(pool.run(lambda: 5, lane=Lane.INTERACTIVE, deadline=FAR))
    await settle()
    pool.close()
    go.set()
    await busy
    for task in (waiting, pool.run(lambda: 5, lane=Lane.INTERACTIVE, deadline=FAR)):
        with pytest.raises(UnavailableError):
            await task
