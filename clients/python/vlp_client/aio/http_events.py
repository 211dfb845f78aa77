"""An answer over HTTP that arrives while it is made."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Self

import httpx

from vlp_client.aio.time_limit import cut, within
from vlp_client.errors import ConnectError, ProtocolError, TimeoutError
from vlp_client.server_events import DONE_EVENT, Event, EventReader, read_document
from vlp_client.timeouts import Span


class AsyncHttpEvents:
    """The events of an answer that has not been read yet, the one named "done" among them; see `AsyncEvents`.

    At the end the answer is closed. It may be closed by another task, too: whoever reads then sees the end.

    Args:
        response: of status 200.
        span: the time that the call has.
    """

    def __init__(self, response: httpx.Response, span: Span) -> None:
        self._response, self._span = response, span
        self._events = self._read()
        self._is_closed = False

    def __aiter__(self) -> Self:
        """The events, which can be read once."""
        return self

    async def __anext__(self) -> Event:
        """The next one."""
        if self._is_closed:
            raise StopAsyncIteration
        try:
            return await within(self._span, self._next, self._leave)
        except Exception:
            if self._is_closed:  # meanwhile, and so whatever broke
                raise StopAsyncIteration from None
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close the answer."""
        self._is_closed = True
        await self._leave()
        # Where somebody is reading, the generator is his, and ends by itself.
        with contextlib.suppress(RuntimeError, ValueError):
            await self._events.aclose()

    async def _next(self) -> Event:
        self._span.check()
        return await self._events.__anext__()

    async def _leave(self) -> None:
        await cut(self._response)

    async def _read(self) -> AsyncGenerator[Event, None]:
        url, done, reader = self._response.url, False, EventReader()
        try:
            async for line in self._response.aiter_lines():
                found = reader.feed(line)
                if found is not None:
                    name, data = found
                    yield name, read_document(url, name, data, self._response.headers)
                    done = done or name == DONE_EVENT
        except httpx.TimeoutException as error:
            raise TimeoutError(f"{url}: no further words in time") from error
        except httpx.TransportError as error:
            message = f"{url}: the connection broke before the end ({error})"
            raise ConnectError(message, answered=True) from error
        except httpx.DecodingError as error:
            raise ProtocolError(f"{url}: a body that is not in the encoding that it names") from error
        finally:
            await self._response.aclose()
        if not done:
            raise ProtocolError(f"{url}: the stream ended before its answer")
