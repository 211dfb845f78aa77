"""The outermost layer of the door, plain ASGI: request id, Server-Timing, the access line, and no fault unanswered."""

from __future__ import annotations

import asyncio
import logging
import time
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from vlp_spec.errors import InternalError, UnavailableError

from vlp_server.http.context import REQUEST_ID_HEADER, RequestContext
from vlp_server.http.door_metrics import DoorMetrics
from vlp_server.http.problems import CLIENT_CLOSED_REQUEST, problem_of

logger = logging.getLogger(__name__)
access_logger = logging.getLogger("vlpserve.access")


class Envelope:
    """Wraps every request.

    Args:
        app: what answers.
        metrics: the door's figures.
        access: whether to log a line for every request.
    """

    def __init__(self, app: ASGIApp, metrics: DoorMetrics, access: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = RequestContext.begin(scope)
        status = CLIENT_CLOSED_REQUEST
        started = False

        async def send_enveloped(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = context.request_id
                headers["Server-Timing"] = context.server_timing()
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            await self._app(scope, receive, send_enveloped)
        except asyncio.CancelledError:
            # The drain's time is over. The task ends here in any case; its caller is told why.
            if started:
                raise
            problem = problem_of(UnavailableError("the server stopped before the answer was there; ask again"))
            context.kind = problem.kind
            await context.respond(problem)(scope, receive, send_enveloped)
        except Exception:
            # The stack goes to the log alone: a caller learns nothing of the inside.
            logger.exception("request %s: a fault that nothing handles", context.request_id)
            if started:
                raise
            problem = problem_of(InternalError())
            context.kind = problem.kind
            await context.respond(problem)(scope, receive, send_enveloped)
        finally:
            self._observe(scope, context, status)

    def _observe(self, scope: Scope, context: RequestContext, status: int) -> None:
        seconds = time.monotonic() - context.started
        route = getattr(scope.get("route"), "path", None) or context.route or "other"
        self._metrics.observe(route, scope["method"], status, context.kind, seconds)
        if not self._access:
            return
        # Neither the query string nor the body: both may hold a caller's question.
        line = {
            "request_id": context.request_id,
            "client": (scope.get("client") or ("-",))[0],
            "method": scope["method"],
            "path": _path_as_sent(scope),
            "status": status,
            "duration_ms": round(seconds * 1000, 1),
            "key": context.key,
            "model": context.model,
            "kind": context.kind,
        }
        access_logger.info("request", extra={"fields": line})


def _path_as_sent(scope: Scope) -> str:
    """The path with its percent signs: decoded it could hold a line break, and so a line of the log of its own."""
    raw = scope.get("raw_path")
    path = quote(scope["path"]) if raw is None else raw.partition(b"?")[0].decode("ascii", "backslashreplace")
    return "".join(char if char.isprintable() else f"%{ord(char):02X}" for char in path)
