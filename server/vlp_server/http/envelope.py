"""The outermost layer of the door, plain ASGI: request id, Server-Timing, RateLimit, and a line for the access log."""

from __future__ import annotations

import math
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vlp_server.http.context import REQUEST_ID_HEADER, RequestContext, context_of
from vlp_server.http.door_metrics import DoorMetrics
from vlp_server.http.problems import CLIENT_CLOSED_REQUEST
from vlp_server.intake.access_log import AccessLog, Exchange

RATE_HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


class Envelope:
    """Wraps every request.

    Args:
        app: what answers.
        metrics: the door's figures.
        access_log: gets a line for every request; None: there is none.
    """

    def __init__(self, app: ASGIApp, metrics: DoorMetrics, access_log: AccessLog | None) -> None:
        self._app = app
        self._metrics = metrics
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = context_of(scope)
        exchange = Exchange(scope["method"], (scope.get("client") or ("-",))[0], CLIENT_CLOSED_REQUEST)

        async def receive_counted() -> Message:
            message = await receive()
            exchange.bytes_in += len(message.get("body", b""))
            return message

        async def send_enveloped(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                _add_headers(MutableHeaders(scope=message), context)
            elif message["type"] == "http.response.body":
                exchange.bytes_out += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive_counted, send_enveloped)
        finally:
            seconds = time.monotonic() - context.started
            if context.refused is not None:
                exchange.status, context.kind = context.refused.status, context.refused.kind
            exchange.route = getattr(scope.get("route"), "path", None) or context.route or "other"
            self._metrics.observe(exchange.route, exchange.method, exchange.status, context.kind, seconds)
            if self._access_log is not None:
                self._access_log.write(context, exchange, seconds)


def _add_headers(headers: MutableHeaders, context: RequestContext) -> None:
    headers[REQUEST_ID_HEADER] = context.request_id
    headers["Server-Timing"] = context.server_timing()
    headers["X-Content-Type-Options"] = "nosniff"
    state = None if context.rate_state is None else context.rate_state()
    if state is not None:
        values = math.floor(state.limit), math.floor(state.remaining), math.ceil(state.reset_s)
        for name, value in zip(RATE_HEADERS, values, strict=True):
            headers[name] = str(value)
