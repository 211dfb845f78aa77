"""Many pieces of work of one request, a bounded number of them at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from vlp_spec.errors import VlpError

S = TypeVar("S")
T = TypeVar("T")


async def all_or_first_error(
    items: Sequence[S], work: Callable[[S], Coroutine[Any, Any, T]], limit: int | None = None
) -> list[T]:
    """Do the work of all items; the first error cancels the rest and is raised as it is.

    Args:
        limit: how many are under way at a time; None = all.

    Returns:
        the results in the order of the items.
    """
    if len(items) == 1:
        return [await work(items[0])]
    results: dict[int, T] = {}
    numbered = iter(enumerate(items))

    async def work_off() -> None:
        for index, item in numbered:
            results[index] = await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(items), limit or len(items))):
                group.create_task(work_off())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [results[index] for index in range(len(items))]


async def each_outcome(
    items: Sequence[S], work: Callable[[S], Coroutine[Any, Any, T]], limit: int | None = None
) -> list[T | VlpError]:
    """As `all_or_first_error`, but an item's own VlpError is its outcome and hurts no other.

    Raises:
        Exception: what is no VlpError.
    """

    async def guarded(item: S) -> T | VlpError:
        try:
            return await work(item)
        except VlpError as error:
            return error

    return await all_or_first_error(items, guarded, limit)
