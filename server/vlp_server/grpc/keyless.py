"""Calls that need no key and have no place inside: few at a time, so that they never keep out those that have.

A call lasts until its client has taken the answer, and a client may leave it for as long as its connection is open:
the library has no way to end such a call. So those that have not ended count, of one address and of all.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import grpc

from vlp_server.grpc.call import address_of
from vlp_server.grpc.reading import Context

MAX_CALLS = 64
MAX_CALLS_OF_ADDRESS = 24


class KeylessCalls:
    """Belongs to the event loop; shared by the methods of one message that need no key."""

    def __init__(self) -> None:
        self._of_address: Counter[str] = Counter()

    async def enter(self, context: Context) -> None:
        """Count a call until it has ended; one too many ends with a status, which waits for nobody."""
        address = address_of(context.peer())
        if self._of_address.total() >= MAX_CALLS or self._of_address[address] >= MAX_CALLS_OF_ADDRESS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many such calls have not ended; try again")

        def leave(*_: Any) -> None:
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

        self._of_address[address] += 1
        context.add_done_callback(leave)
