import asyncio
import threading

import pytest
from vlp_server.core.engine_thread import EngineThread
from vlp_spec.errors import InternalError, UnavailableError


@pytest.fixture
def thread():
    made = EngineThread("test")
    yield made
    made.close()


async def test_calls_run_in_one_thread_one_after_another(thread):
    names = await asyncio.gather(*(thread.run(lambda: threading.current_thread().name) for _ in range(3)))
    assert names == ["test"] * 3


async def test_what_a_call_raises_reaches_who_waits_and_the_thread_goes_on(thread):
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 / 0)
    assert await thread.run(lambda: 5) == 5


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, StopIteration])
async def test_what_would_end_a_thread_becomes_an_internal_error(thread, error):
    def call():
        raise error

    with pytest.raises(InternalError):
        await thread.run(call)
    assert await thread.run(lambda: 5) == 5


async def test_a_caller_that_leaves_does_not_disturb_the_next(thread):
    go = threading.Event()
    first = asyncio.create_task(thread.run(go.wait))
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.create_task(thread.run(lambda: 5))
    await asyncio.sleep(0)
    go.set()
    assert await second == 5
    assert first.cancelled()


async def test_a_closed_thread_refuses(thread):
    thread.close()
    with pytest.raises(UnavailableError):
        await thread.run(lambda: 5)
