"""One call, as often as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from vlp_client.aio.transport import AsyncEvents, AsyncTransport
from vlp_client.calls import Call
from vlp_client.errors import ProtocolError, ServerError, VlpClientError
from vlp_client.replies import Reply
from vlp_client.retries import Attempts, Retries
from vlp_client.timeouts import Span, Timeouts

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[object]]


class AsyncSender:
    """Sends calls by a transport, again where the policy says so, and reads their answers.

    Args:
        transport: of one server.
        timeouts: of every call.
        retries: None sends nothing again.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        transport: AsyncTransport,
        timeouts: Timeouts,
        retries: Retries | None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._transport = transport
        self._timeouts = timeouts
        self._retries = retries
        self._sleep = sleep

    @property
    def patience_s(self) -> float:
        """How long a server that is full is waited for."""
        return 0.0 if self._retries is None else self._retries.patience_s

    async def call(self, call: Call[T]) -> T:
        """Send a call and read its answer.

        Raises:
            VlpClientError: see `vlp_client.errors`.
        """
        attempts = Attempts(self._retries, call)
        try:
            reply = await self._tried(call, self._transport.send, attempts)
        except ServerError as error:
            if not attempts.maybe_done or error.kind != call.gone_kind:
                raise
            reply = Reply(None)
        try:
            return call.read(reply)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ProtocolError(f"{call.verb}: an answer that is not this API's ({error!r})") from error

    async def stream(self, call: Call[Any]) -> AsyncEvents:
        """As `call`, for an answer that comes in parts."""
        return await self._tried(call, self._transport.stream, Attempts(self._retries, call))

    def for_bulk(self, sleep: Sleep) -> AsyncSender:
        """The same for calls that nobody watches, which wait longer for a server that is full."""
        retries = None if self._retries is None else self._retries.for_bulk()
        return AsyncSender(self._transport, self._timeouts, retries, sleep)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def _tried(self, call: Call[Any], send: Callable[[Call[Any], Span], Awaitable[T]], attempts: Attempts) -> T:
        span = Span.starting(self._timeouts, call.deadline_s, call.patience_s)
        while True:
            try:
                return await send(call, span)
            except VlpClientError as error:
                wait_s = attempts.wait_after(error)
                if wait_s is None or not span.holds(wait_s):
                    raise
            await self._sleep(wait_s)
