"""An answer that is sent while it is made: server-sent events, as the HTML standard has them (section 9.2)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from vlp_spec.errors import CancelledError, InternalError, UnavailableError, VlpError

from vlp_server.http.context import RequestContext
from vlp_server.http.disconnect import until_disconnect
from vlp_server.http.drawn_items import DrawnItems
from vlp_server.http.problems import problem_of

EVENT_MEDIA_TYPE = "text/event-stream"
ERROR_EVENT = "error"
# Often enough for whoever sits in between and closes what is silent, mostly after 30 s or a minute.
KEEP_ALIVE_S = 10.0
_KEEP_ALIVE = b": keep-alive\n\n"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def event(document: Mapping[str, Any], name: str | None = None) -> bytes:
    """One event with a JSON document, on one line and in ASCII: no reader takes a character in it for a line's end.

    Raises:
        ValueError: a number in it that JSON cannot hold.
    """
    head = "" if name is None else f"event: {name}\n"
    return f"{head}data: {json.dumps(document, allow_nan=False)}\n\n".encode("ascii")


class EventStream(Response):
    """Sends events as they come, with a comment now and then while there are none.

    What goes wrong from here on is the last event, because the status has been sent: `error`, with the document of the
    problem. The request stays inside until the last byte has gone, or the client.

    Args:
        events: as `event` writes them.
        context: learns of faults.
        held: what the request holds, `events` among it; closed at the end.
    """

    def __init__(self, events: DrawnItems[bytes], context: RequestContext, held: AsyncExitStack) -> None:
        super().__init__(media_type=EVENT_MEDIA_TYPE, headers=_HEADERS)
        del self.headers["content-length"]
        self._events = events
        self._context = context
        self._held = held
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a client that goes away ends the work at once."""
        async with self._held:
            try:
                await until_disconnect(receive, self._write(send))
            except CancelledError as error:
                self._context.kind = error.kind
            except asyncio.CancelledError:
                if not self._started:
                    raise
                # The drain's time is over. The task ends here in any case; its caller is told why.
                stopped = UnavailableError("the server stopped before the answer was whole; ask again")
                await send({"type": "http.response.body", "body": self._told(stopped), "more_body": False})

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        self._started = more = True
        while more:
            chunk, more = await self._next()
            await send({"type": "http.response.body", "body": chunk, "more_body": more})

    async def _next(self) -> tuple[bytes, bool]:
        """What is to be sent next, and whether more follows."""
        if not await self._events.arrived(KEEP_ALIVE_S):
            return _KEEP_ALIVE, True
        try:
            chunk = self._events.take()
        except Exception as error:
            return self._told(error), False
        return (b"", False) if chunk is None else (chunk, True)

    def _told(self, error: Exception) -> bytes:
        problem = problem_of(error if isinstance(error, VlpError) else InternalError(detail=repr(error)))
        self._context.note_fault(problem, error)
        # OpenAI's clients know an error by its document, and give another name to nobody.
        return event(self._context.document(problem), None if self._context.openai_errors else ERROR_EVENT)
