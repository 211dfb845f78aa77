"""Counts the requests inside something that can be taken away only when there are none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class InFlight:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def count(self) -> int:
        """How many are inside."""
        return self._inside

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Be inside for a time."""
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    async def drained(self) -> None:
        """Wait until nobody is inside; at once where nobody is."""
        while self._inside:
            await self._empty.wait()
