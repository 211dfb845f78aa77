"""A call that ends in time, whatever the server does. Written by hand, as its twin in `vlp_client.sync`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx

from vlp_client.timeouts import Span

T = TypeVar("T")


async def within(span: Span, work: Callable[[], Awaitable[T]], leave: Callable[[], Awaitable[object]]) -> T:
    """Work until the end of the time that a call has.

    Args:
        span: of the call.
        work: what is done.
        leave: ends it from outside.

    Raises:
        TimeoutError: the time is over.
    """
    limit = asyncio.timeout(span.left_s)
    try:
        async with limit:
            return await work()
    except TimeoutError:
        if not limit.expired():
            raise
        await leave()
        raise span.expired() from None


async def cut(response: httpx.Response) -> None:
    """Close an answer, even while it is being read elsewhere: whoever reads it sees its connection break."""
    await response.aclose()
