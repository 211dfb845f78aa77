"""The door of the service as a whole: how many requests, and bytes of pictures, may be inside."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from vlp_spec.errors import OverloadedError, UnavailableError

from vlp_server.core.settings import AdmissionSettings

DRAIN_RETRY_S = 5.0


class Admission:
    """Counts who is inside, and closes for draining."""

    def __init__(self, settings: AdmissionSettings) -> None:
        self._settings = settings
        self._requests = 0
        self._bytes = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self.draining = False

    @property
    def requests(self) -> int:
        """Requests inside."""
        return self._requests

    @contextmanager
    def enter(self, size_bytes: int, retry_after_s: float) -> Iterator[None]:
        """Be inside for the time of a request.

        Args:
            size_bytes: of its picture.
            retry_after_s: for the error, when there is no room.

        Raises:
            UnavailableError: draining.
            OverloadedError: no room for another request, or for so many bytes beside others.
        """
        if self.draining:
            raise UnavailableError(
                "the server is stopping; send the request to another one", retry_after_s=DRAIN_RETRY_S
            )
        if self._requests >= self._settings.max_requests or (
            self._requests and self._bytes + size_bytes > self._settings.max_request_bytes
        ):
            raise OverloadedError(
                "the server has as many requests as it takes; try again later",
                retry_after_s=retry_after_s,
                detail=f"{self._requests} requests with {self._bytes} bytes inside",
            )
        self._requests += 1
        self._bytes += size_bytes
        self._empty.clear()
        try:
            yield
        finally:
            self._requests -= 1
            self._bytes -= size_bytes
            if not self._requests:
                self._empty.set()

    async def drain(self, timeout_s: float) -> bool:
        """Let nobody in any more and wait for those inside; True when all have left in time."""
        self.draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True
