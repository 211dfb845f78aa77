from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from vlp_server.grpc.read_ahead import ReadAhead


class Source:
    """Gives numbers and says how many were drawn, and whether it was closed."""

    def __init__(self, *items: int | Exception) -> None:
        self._items = items
        self.drawn = 0
        self.closed = False

    async def stream(self) -> AsyncGenerator[int]:
        try:
            for item in self._items:
                if isinstance(item, Exception):
                    raise item
                self.drawn += 1
                yield item
        finally:
            self.closed = True


def ahead_of(source: Source, max_count: int = 100, max_bytes: int = 100) -> ReadAhead[int]:
    return ReadAhead(source.stream(), lambda item: (1, item), max_count, max_bytes)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_waits_is_taken_together_and_nothing_is_lost() -> None:
    ahead = ahead_of(Source(1, 2, 3))
    await settle()
    assert await ahead.take() == [1, 2, 3]
    assert await ahead.take() == []
    await ahead.close()


@pytest.mark.parametrize(("max_count", "max_bytes"), [(2, 100), (100, 2)])
async def test_the_sender_waits_where_enough_is_waiting(max_count: int, max_bytes: int) -> None:
    source = Source(*[1] * 9)
    ahead = ahead_of(source, max_count, max_bytes)
    await settle()
    assert source.drawn == 3  # two wait, and one is held back
    taken = []
    while batch := await ahead.take():
        assert len(batch) <= 2
        taken += batch
    assert len(taken) == 9
    await ahead.close()


async def test_one_item_over_the_limit_goes_alone() -> None:
    ahead = ahead_of(Source(1, 500, 2), max_bytes=10)
    assert [await ahead.take() for _ in range(4)] == [[1], [500], [2], []]
    await ahead.close()


async def test_a_fault_comes_after_what_came_before_it() -> None:
    ahead = ahead_of(Source(1, ValueError("no more")))
    await settle()
    assert await ahead.take() == [1]
    with pytest.raises(ValueError, match="no more"):
        await ahead.take()
    await ahead.close()


async def test_closing_ends_the_stream() -> None:
    source = Source(*[1] * 9)
    ahead = ahead_of(source, max_count=1)
    await settle()
    await ahead.close()
    assert source.closed
