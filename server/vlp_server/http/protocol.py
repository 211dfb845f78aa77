"""The connection: uvicorn's HTTP/1.1 protocol with the bounds that it lacks.

Bounds: headers that drip in or never end, and a body that goes on after its answer was sent. Such a body is read and
dropped for a while, because closing at once would make the client lose the answer.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState
from vlp_spec.errors import ErrorKind

from vlp_server.config.settings import HttpConfig
from vlp_server.http.context import REQUEST_ID_HEADER
from vlp_server.http.problems import PROBLEM_MEDIA_TYPE, DoorKind, Problem

# How long a client may go on sending a body whose request is answered already.
LINGER_S = 5.0


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Attributes:
        http: bounds; set by `bounded_protocol`, because uvicorn builds the connections.
    """

    http: HttpConfig

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._timer: asyncio.TimerHandle | None = None
        self._in_headers = True
        self._header_bytes = 0
        self._message_open = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection has as long for its first headers as any later one."""
        super().connection_made(transport)
        self._arm(self.http.header_timeout_s, self._headers_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer with the connection."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes before the end of the headers."""
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > self.http.header_limit_bytes:
            limit = self.http.header_limit_bytes
            self._refuse(Problem(DoorKind.HEADERS_TOO_LARGE, f"the headers are over {limit} bytes; send fewer"))
        elif self._idle() and self._timer is None and self.timeout_keep_alive_task is None:
            # Empty lines, or the end of a body that was dropped: uvicorn has stopped its own timer and starts no other.
            self._arm(self.http.header_timeout_s, self._close)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_headers = self._message_open = True
        self._arm(self.http.header_timeout_s, self._headers_late)

    def on_headers_complete(self) -> None:
        """From here on the body's own timeout counts."""
        self._in_headers, self._header_bytes = False, 0
        self._disarm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The whole request has arrived; the next bytes are another one's headers."""
        self._in_headers, self._message_open = True, False
        if self.cycle is not None and self.cycle.response_complete:
            self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Answered; when the body is still coming, it is dropped for a while."""
        super().on_response_complete()
        if self._message_open and not self.transport.is_closing():
            self._arm(LINGER_S, self._close)

    def send_400_response(self, msg: str) -> None:
        """Bytes that are not HTTP."""
        self._refuse(Problem(ErrorKind.INVALID_ARGUMENT, "not a valid HTTP/1.1 request"))

    def _idle(self) -> bool:
        return not self._message_open and (self.cycle is None or self.cycle.response_complete)

    def _headers_late(self) -> None:
        if not self._message_open:
            self._close()
            return
        limit_s = self.http.header_timeout_s
        self._refuse(Problem(DoorKind.REQUEST_TIMEOUT, f"the headers did not arrive within {limit_s:g} s"))

    def _refuse(self, problem: Problem) -> None:
        """Answer without a request, and close."""
        self._disarm()
        if self.transport.is_closing():
            return
        # An answer to an earlier request may be on its way; a second one would be taken for a part of it.
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_raw_response(problem))
        self._close()

    def _close(self) -> None:
        self._disarm()
        if not self.transport.is_closing():
            self.transport.close()

    def _arm(self, delay_s: float, then: Any) -> None:
        self._disarm()
        self._timer = self.loop.call_later(delay_s, then)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def bounded_protocol(http: HttpConfig) -> type[BoundedProtocol]:
    """The class of connections with these bounds."""
    return type("ConfiguredProtocol", (BoundedProtocol,), {"http": http})


def _raw_response(problem: Problem) -> bytes:
    """A whole answer for a connection that has no request to answer."""
    request_id = uuid.uuid4().hex
    body = json.dumps(problem.document(request_id)).encode()
    head = (
        f"content-type: {PROBLEM_MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        f"{REQUEST_ID_HEADER.lower()}: {request_id}\r\nconnection: close\r\n\r\n"
    )
    return STATUS_LINE[problem.status] + head.encode("ascii") + body
