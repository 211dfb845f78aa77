import asyncio
import threading

import pytest
from vlp_server.core.thread_team import ThreadTeam
from vlp_spec.errors import UnavailableError


async def test_so_many_calls_run_at_a_time_and_the_others_wait():
    team, inside, most = ThreadTeam("team", 2), 0, 0
    lock = threading.Lock()
    go_on = threading.Event()

    def call():
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        go_on.wait(5)
        with lock:
            inside -= 1
        return threading.current_thread().name

    waiting = [asyncio.create_task(team.run(call)) for _ in range(5)]
    while inside < 2:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    assert inside == 2
    go_on.set()
    assert set(await asyncio.gather(*waiting)) == {"team-0", "team-1"}
    assert most == 2
    team.close()


async def test_a_caller_that_leaves_frees_the_thread_only_when_the_call_ends():
    team = ThreadTeam("team", 1)
    begun, go_on = threading.Event(), threading.Event()

    def call():
        begun.set()
        go_on.wait(5)

    leaving = asyncio.create_task(team.run(call))
    while not begun.is_set():
        await asyncio.sleep(0.001)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    waiting = asyncio.create_task(team.run(lambda: "done"))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    go_on.set()
    assert await waiting == "done"
    team.close()


async def test_what_a_call_raises_comes_back_and_the_thread_goes_on():
    team = ThreadTeam("team", 1)
    with pytest.raises(KeyError):
        await team.run(lambda: {}["nothing"])
    assert await team.run(lambda: 1) == 1
    team.close()
    with pytest.raises(UnavailableError):
        await team.run(lambda: 1)
