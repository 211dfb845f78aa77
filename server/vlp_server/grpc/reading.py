"""Reads the messages of calls. One that was begun and never ends holds its bytes, so only so many may be slow at once.

Whether a sender is silent or has sent half of a large message, the library does not tell. So a read that lasts longer
than honest ones do is one of the slow, and where there are too many of those the one that lasts longest is given up:
whoever comes later, and has its message ready, is not kept out.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

import grpc
import grpc.aio
from vlp_spec.errors import CancelledError, DeadlineError, OverloadedError

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class MessageReader:
    """Belongs to the event loop.

    Args:
        max_slow: that are read at once.
        patience_s: how long a read may last and count for nothing.
    """

    def __init__(self, max_slow: int, patience_s: float) -> None:
        self._max_slow = max_slow
        self._patience_s = patience_s
        # In the order in which they became slow.
        self._slow: dict[asyncio.Timeout, None] = {}
        self._given_up: set[asyncio.Timeout] = set()

    async def read(self, context: Context, timeout_s: float | None) -> bytes | None:
        """The next message of a call; None after the last.

        Raises:
            CancelledError: the client went away first.
            DeadlineError: it did not arrive in time.
            OverloadedError: it is slow, and so are too many others.
        """
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(timeout_s)
        patience = loop.call_later(self._patience_s, self._note_slow, limit)
        try:
            async with limit:
                data = await context.read()
        except TimeoutError:
            if limit in self._given_up:
                raise OverloadedError(
                    "the message is slow to arrive, and too many others are, too; try again later"
                ) from None
            raise DeadlineError(f"the message did not arrive within {timeout_s:g} s") from None
        except grpc.aio.BaseError:
            raise CancelledError("the client went away before its message was there") from None
        finally:
            patience.cancel()
            self._slow.pop(limit, None)
            self._given_up.discard(limit)
        return None if data is grpc.aio.EOF else bytes(data)

    def _note_slow(self, limit: asyncio.Timeout) -> None:
        if len(self._slow) >= self._max_slow:
            oldest = next(iter(self._slow))
            del self._slow[oldest]
            if not oldest.expired():
                self._given_up.add(oldest)
                oldest.reschedule(asyncio.get_running_loop().time())
        self._slow[limit] = None
