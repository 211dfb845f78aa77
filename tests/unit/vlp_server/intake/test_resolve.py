from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from vlp_server.intake.resolve import HostResolver


async def test_addresses_of_this_machine_without_a_name_server() -> None:
    assert set(await HostResolver()("127.0.0.1", 80)) == {"127.0.0.1"}


async def test_a_name_without_addresses_is_an_error() -> None:
    def lookup(host: str, port: int, **_: Any) -> Any:
        raise OSError(host)

    resolve = HostResolver(lookup, threads=1)
    for _ in range(3):
        with pytest.raises(OSError, match="nowhere"):
            await resolve("nowhere", 80)


async def test_callers_who_leave_do_not_free_a_thread_that_is_still_looking() -> None:
    go_on, running, lock = threading.Event(), [0, 0], threading.Lock()

    def lookup(host: str, port: int, **_: Any) -> Any:
        with lock:
            running[0] += 1
            running[1] = max(running)
        go_on.wait(10)
        with lock:
            running[0] -= 1
        return [(0, 0, 0, "", ("192.0.2.1", port))]

    resolve = HostResolver(lookup, threads=2)
    for _ in range(6):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await resolve("slow", 80)
    assert running == [2, 2]
    go_on.set()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*(resolve("quick", 80) for _ in range(4))) == [["192.0.2.1"]] * 4
    assert max(running) == 2
