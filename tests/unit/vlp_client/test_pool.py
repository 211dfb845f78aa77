"""The threads of a blocking bulk run."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from vlp_client.sync.pool import Pool, PoolClosedError

LEFT_OPEN = """
import threading
from vlp_client.sync.pool import Pool

def run():
    pool, begun = Pool(2), threading.Event()
    def work():
        begun.set()
        pool.sleep(3600.0)
    try:
        pool.start(work)
        begun.wait()
        yield 1
    finally:
        pool.close()

left = run()
print(next(left))
"""


def test_a_run_that_nobody_goes_on_with_keeps_no_interpreter() -> None:
    done = subprocess.run([sys.executable, "-c", LEFT_OPEN], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_closing_wakes_who_waits_and_sees_through_what_is_under_way() -> None:
    pool: Pool[str] = Pool(2)
    go, seen = threading.Event(), list[str]()

    def wait() -> str:
        try:
            pool.sleep(3600.0)
        except PoolClosedError:
            go.set()
            raise
        return "waited"

    def call() -> str:
        go.wait()
        seen.append("called")
        return "called"

    pool.start(wait)
    pool.start(call)
    assert pool.is_full
    pool.close()
    assert seen == ["called"]
    assert not pool.is_busy


def test_what_has_ended_is_returned_and_what_failed_raises() -> None:
    pool: Pool[int] = Pool(1)
    for number in range(3):
        pool.start(lambda number=number: number)  # type: ignore[misc]
        assert pool.first() == [number]
    pool.start(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        pool.first()
    pool.close()
