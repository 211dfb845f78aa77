from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import pytest
from vlp_server.http.drawn_items import DrawnItems


class Source:
    """Gives its items, then waits until it is told to end, or raises its fault."""

    def __init__(self, *items: str, fault: Exception | None = None, ends: bool = True) -> None:
        self.tasks: set[Any] = set()
        self.closed = False
        self.go_on = asyncio.Event()
        self._items, self._fault = items, fault
        if ends:
            self.go_on.set()

    async def items(self) -> AsyncGenerator[str, None]:
        try:
            async with asyncio.timeout(10):  # belongs to one task: asyncio sees to that
                for item in self._items:
                    self.tasks.add(asyncio.current_task())
                    yield item
                await self.go_on.wait()
                if self._fault is not None:
                    raise self._fault
        finally:
            self.tasks.add(asyncio.current_task())
            self.closed = True


@pytest.fixture
async def draw() -> AsyncIterator[Callable[[Source], DrawnItems[str]]]:
    opened: list[DrawnItems[str]] = []

    def open_items(source: Source) -> DrawnItems[str]:
        opened.append(DrawnItems(source.items()))
        return opened[-1]

    yield open_items
    for items in opened:
        await items.close()


async def taken(items: DrawnItems[str]) -> list[str]:
    found = []
    while await items.arrived(10):
        item = items.take()
        if item is None:
            break
        found.append(item)
    return found


async def test_items_come_in_their_order_and_then_none(draw: Any) -> None:
    source = Source("a", "b", "c")
    items = draw(source)
    await items.first()
    assert await taken(items) == ["a", "b", "c"]
    assert items.take() is None
    assert source.closed


async def test_one_task_has_the_iterator_from_beginning_to_end(draw: Any) -> None:
    source = Source("a", "b")
    items = draw(source)
    await asyncio.create_task(items.first())
    for _ in range(2):
        await asyncio.create_task(items.arrived(10))
        items.take()
    await asyncio.create_task(items.arrived(10))
    (task,) = source.tasks
    assert task is not asyncio.current_task()


async def test_a_slow_taker_holds_up_nobody(draw: Any) -> None:
    source = Source("a", "b", "c")
    items = draw(source)
    await items.first()
    await asyncio.sleep(0)
    assert source.closed
    assert await taken(items) == ["a", "b", "c"]


async def test_waiting_ends_after_its_time_and_loses_nothing(draw: Any) -> None:
    source = Source("a", ends=False)
    items = draw(source)
    assert await items.arrived(10)
    assert items.take() == "a"
    assert not await items.arrived(0.001)
    source.go_on.set()
    assert await items.arrived(10)
    assert items.take() is None


async def test_a_fault_comes_after_the_items_before_it(draw: Any) -> None:
    items = draw(Source("a", fault=TimeoutError("of the iterator")))
    await items.first()
    assert items.take() == "a"
    assert await items.arrived(10)
    with pytest.raises(TimeoutError, match="of the iterator"):
        items.take()


async def test_a_fault_in_the_place_of_the_first_item(draw: Any) -> None:
    items = draw(Source(fault=ValueError("no")))
    with pytest.raises(ValueError, match="no"):
        await items.first()


async def test_closing_ends_the_iterator_before_it_returns(draw: Any) -> None:
    source = Source("a", ends=False)
    items = draw(source)
    await items.first()
    await items.close()
    await items.close()
    assert source.closed
    assert len(source.tasks) == 1
