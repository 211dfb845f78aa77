"""The connection: uvicorn's HTTP/1.1 protocol with the bounds that it lacks.

Bounds: headers that drip in, never end, or are too many; what a chunked body has beside its bytes; requests that are
sent ahead; connections; answers that nobody reads; and a body that goes on after its answer was sent. Such a body is
read and dropped for a while, because closing at once would make the client lose the answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState
from vlp_spec.errors import ErrorKind

from vlp_server.config.settings import HttpConfig
from vlp_server.http.context import REQUEST_ID_HEADER, context_of
from vlp_server.http.problems import PROBLEM_MEDIA_TYPE, DoorKind, Problem
from vlp_server.intake.access_log import Exchange
from vlp_server.intake.request_ids import request_id_of

# How long a client may go on sending a body whose request is answered already.
LINGER_S = 5.0
# Requests that a client may send before the first is answered.
MAX_PIPELINED = 64
# Connections over their number that are still told so; those beyond are closed without a word.
SURPLUS = 64
_SURPLUS_HEADERS_S = 1.0
_ALWAYS_ANSWERED = (b"/livez", b"/readyz")
_UNNAMED = "-"

Refused = Callable[[Problem, Exchange, str], None]
"""Told of a refusal that no request stands for: the problem, what went over the connection, and the request id."""


class _FaultyBytes(Exception):
    """Stops the parser; the connection has noted why."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Attributes:
        http: bounds; set by `bounded_protocol`, because uvicorn builds the connections.
        refused: told of refusals, None where nobody wants to know.
    """

    http: HttpConfig
    refused: Refused | None

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._in_headers = True
        self._header_bytes = 0
        self._told_bytes = self._told_headers = 0
        self._framing_bytes = 0
        self._message_open = False
        self._running: RequestResponseCycle | None = None
        self._is_surplus = False
        self._fault: Problem | None = None
        self._deaf = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection has as long for its first headers as any later one."""
        super().connection_made(transport)
        over = len(self.connections) - self.http.max_connections
        if over > SURPLUS:
            transport.abort()
            return
        self._is_surplus = over > 0
        limit_s = self.http.header_timeout_s
        self._arm(min(limit_s, _SURPLUS_HEADERS_S) if self._is_surplus else limit_s, self._headers_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer with the connection, and tell the request that is being answered, not the last one alone."""
        self._disarm()
        self._stop_waiting_for_reader()
        self.pipeline.clear()
        if self._running is not None:
            _disconnect(self._running)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered; one that stops holds memory and a place inside."""
        super().pause_writing()
        self._stop_waiting_for_reader()
        self._unread_timer = self.loop.call_later(self.http.write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Count what comes before the end of the headers, and what comes after it that is no body."""
        if self._deaf:
            return
        if self._in_headers:
            self._header_bytes += len(data)
        else:
            self._framing_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > self.http.header_limit_bytes:
            self._refuse(self._headers_too_large())
        elif self._message_open and not self._in_headers and self._framing_bytes > self.http.header_limit_bytes:
            self._refuse(Problem(ErrorKind.INVALID_ARGUMENT, "the chunks of the body are more frame than content"))
        elif self._idle() and self._timer is None and self.timeout_keep_alive_task is None:
            # Empty lines, or the end of a body that was dropped: uvicorn has stopped its own timer and starts no other.
            self._arm(self.http.header_timeout_s, self._close)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_headers = self._message_open = True
        self._told_bytes = self._told_headers = self._framing_bytes = 0
        limit_s = self.http.header_timeout_s
        self._arm(min(limit_s, _SURPLUS_HEADERS_S) if self._is_surplus else limit_s, self._headers_late)

    def on_url(self, url: bytes) -> None:
        """A part of the request line."""
        self._tell(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or after a chunked body a trailer, which nobody here wants."""
        self._told_headers += 1
        self._tell(len(name) + len(value))
        if self._told_headers > self.http.header_limit:
            limit = self.http.header_limit
            self._stop(Problem(DoorKind.HEADERS_TOO_LARGE, f"there are more than {limit} headers; send fewer"))
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """From here on the body's own timeout counts."""
        if self._is_surplus and self.url not in _ALWAYS_ANSWERED:
            self._stop(
                Problem(
                    ErrorKind.UNAVAILABLE,
                    "the server has as many connections as it takes; try again later",
                    retry_after_s=1.0,
                )
            )
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop(Problem(ErrorKind.OVERLOADED, f"more than {MAX_PIPELINED} requests were sent ahead"))
        upgrades = self.parser.should_upgrade()
        if upgrades and self._announces_body():
            # The parser takes what follows for another protocol's: the body would be lost without a word.
            self._stop(
                Problem(ErrorKind.INVALID_ARGUMENT, "Upgrade: only HTTP/1.1 is spoken here; leave this header out")
            )
        self._in_headers, self._header_bytes = False, 0
        self._disarm()
        super().on_headers_complete()
        if self._is_surplus or upgrades:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A piece of the body. A frame of eight times its content is a chunk of one byte: slow, and not a lie."""
        self._framing_bytes = max(0, self._framing_bytes - 8 * len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request has arrived; the next bytes are another one's headers."""
        self._in_headers, self._message_open = True, False
        if self.cycle is not None and self.cycle.response_complete:
            self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Answered; when the body is still coming, it is dropped for a while."""
        self._running = None
        super().on_response_complete()
        if self._message_open and self.cycle.response_complete and not self.transport.is_closing():
            self._arm(LINGER_S, self._close)

    def send_400_response(self, msg: str) -> None:
        """Bytes that are not HTTP, or that are too many of something."""
        self._refuse(self._fault or Problem(ErrorKind.INVALID_ARGUMENT, "not a valid HTTP/1.1 request"))

    def _announces_body(self) -> bool:
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0")
            for name, value in self.headers
        )

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _tell(self, size_bytes: int) -> None:
        """Count what the parser has found, for all of it may have come at once."""
        self._told_bytes += size_bytes
        if self._told_bytes > self.http.header_limit_bytes:
            self._stop(self._headers_too_large())

    def _headers_too_large(self) -> Problem:
        limit = self.http.header_limit_bytes
        return Problem(DoorKind.HEADERS_TOO_LARGE, f"the headers are over {limit} bytes; send fewer")

    def _stop(self, problem: Problem) -> None:
        """Read no further; what the parser makes of this ends in `send_400_response`."""
        self._fault = problem
        raise _FaultyBytes

    def _idle(self) -> bool:
        return not self._message_open and (self.cycle is None or self.cycle.response_complete)

    def _headers_late(self) -> None:
        if not self._message_open:
            self._close()
            return
        limit_s = self.http.header_timeout_s
        self._refuse(Problem(DoorKind.REQUEST_TIMEOUT, f"the headers did not arrive within {limit_s:g} s"))

    def _refuse(self, problem: Problem) -> None:
        """Answer without a request, or in the place of one whose body is at fault, and close.

        An answer to an earlier request may be on its way: a second one would be taken for a part of it, so that one is
        sent to its end, and no more is read.
        """
        self._disarm()
        if self.transport.is_closing():
            return
        self._deaf = True
        self.pipeline.clear()
        running = self._running
        if running is not None and (running is not self.cycle or self._in_headers or running.response_started):
            running.keep_alive = False
            return
        request_id = self._request_id()
        if running is not None:
            context = context_of(cast("Scope", running.scope))
            context.refused, request_id = problem, context.request_id
        body = json.dumps(problem.document(request_id)).encode()
        self.transport.write(_raw_response(problem, body, request_id))
        if running is not None:
            _disconnect(running)
        elif self.refused is not None:
            client = self.client[0] if self.client else _UNNAMED
            self.refused(problem, Exchange(_UNNAMED, client, problem.status, bytes_out=len(body)), request_id)
        self._close()

    def _request_id(self) -> str:
        """The one that the request at fault brings, as far as its headers are known, or a new one."""
        headers = self.headers if self._message_open and self.headers else []
        wanted = REQUEST_ID_HEADER.lower().encode()
        return request_id_of(next((value.decode("latin-1") for name, value in headers if name == wanted), ""))

    def _close(self) -> None:
        self._disarm()
        if not self.transport.is_closing():
            self.transport.close()

    def _arm(self, delay_s: float, then: Any) -> None:
        self._disarm()
        self._timer = self.loop.call_later(delay_s, then)

    def _stop_waiting_for_reader(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def bounded_protocol(http: HttpConfig, refused: Refused | None = None) -> type[BoundedProtocol]:
    """The class of connections with these bounds; `refused` is told of what is refused before there is a request."""
    told = None if refused is None else staticmethod(refused)
    return type("ConfiguredProtocol", (BoundedProtocol,), {"http": http, "refused": told})


def _disconnect(cycle: RequestResponseCycle) -> None:
    """Let a request know that nobody will read its answer."""
    if not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()


def _raw_response(problem: Problem, body: bytes, request_id: str) -> bytes:
    """A whole answer for a connection that has no request to answer."""
    retry = "" if problem.retry_after_s is None else f"retry-after: {max(1, round(problem.retry_after_s))}\r\n"
    head = (
        f"content-type: {PROBLEM_MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n{retry}"
        f"{REQUEST_ID_HEADER.lower()}: {request_id}\r\nconnection: close\r\n\r\n"
    )
    return STATUS_LINE[problem.status] + head.encode("ascii") + body
