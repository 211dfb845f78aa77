"""An answer over HTTP that arrives while it is made."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Self

import httpx

from vlp_client.errors import ConnectError, ProtocolError, TimeoutError
from vlp_client.server_events import DONE_EVENT, Event, EventReader, read_document


class AsyncHttpEvents:
    """The events of an answer that has not been read yet, the one named "done" among them; see `AsyncEvents`.

    At the end the answer is closed.

    Args:
        response: of status 200.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._events = self._read()

    def __aiter__(self) -> Self:
        """The events, which can be read once."""
        return self

    async def __anext__(self) -> Event:
        """The next one."""
        return await self._events.__anext__()

    async def aclose(self) -> None:
        """Close the answer."""
        await self._events.aclose()
        await self._response.aclose()

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
        finally:
            await self._response.aclose()
        if not done:
            raise ProtocolError(f"{url}: the stream ended before its answer")
