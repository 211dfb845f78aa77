"""No fault without an answer. Plain ASGI, inside the envelope and CORS, so that a page can read these answers, too."""

from __future__ import annotations

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from vlp_spec.errors import InternalError, UnavailableError, VlpError

from vlp_server.http.context import context_of
from vlp_server.http.problems import problem_of

logger = logging.getLogger(__name__)


class LastResort:
    """Answers where what is inside raised something that nobody handles, or was stopped."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = context_of(scope)
        started = False

        async def send_noting(message: Message) -> None:
            nonlocal started
            started |= message["type"] == "http.response.start"
            await send(message)

        error: VlpError
        try:
            await self._app(scope, receive, send_noting)
            return
        except asyncio.CancelledError:
            # The drain's time is over. The task ends here in any case; its caller is told why.
            if started:
                raise
            error = UnavailableError("the server stopped before the answer was there; ask again")
        except Exception:
            # The stack goes to the log alone: a caller learns nothing of the inside.
            logger.exception("request %s: a fault that nothing handles", context.request_id)
            if started:
                raise
            error = InternalError()
        problem = problem_of(error)
        context.kind = problem.kind
        await context.respond(problem)(scope, receive, send)
