"""Which pages of other origins may call this server: Starlette's rules, with refusals as every other one looks."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from vlp_spec.errors import ErrorKind

from vlp_server.config.settings import HttpConfig
from vlp_server.http.access import AUTHORIZATION_HEADER, KEY_HEADER
from vlp_server.http.collection_fields import IDEMPOTENCY_HEADER
from vlp_server.http.context import REQUEST_ID_HEADER, TIMEOUT_HEADER, context_of
from vlp_server.http.envelope import RATE_HEADERS
from vlp_server.http.oip_schemas import BINARY_HEADER
from vlp_server.http.openai_errors import RETRY_HEADER
from vlp_server.http.problems import Problem

METHODS = ("GET", "POST", "PUT", "DELETE")
# What OpenAI's package for JavaScript sends of itself.
_OPENAI_SENT = (
    "User-Agent",
    "OpenAI-Organization",
    "OpenAI-Project",
    *(
        f"X-Stainless-{about}"
        for about in (
            "Arch",
            "Async",
            "Helper-Method",
            "Lang",
            "Os",
            "Package-Version",
            "Poll-Helper",
            "Retry-Count",
            "Runtime",
            "Runtime-Version",
            "Timeout",
        )
    ),
)
SENT = (
    "Content-Type",
    AUTHORIZATION_HEADER,
    KEY_HEADER,
    TIMEOUT_HEADER,
    REQUEST_ID_HEADER,
    IDEMPOTENCY_HEADER,
    BINARY_HEADER,
    *_OPENAI_SENT,
)
EXPOSED = (REQUEST_ID_HEADER, "Server-Timing", "Retry-After", RETRY_HEADER, BINARY_HEADER, *RATE_HEADERS)


class Cors:
    """Answers preflights, without asking for a key, and tells browsers which pages may read an answer.

    Args:
        app: what answers the rest.
        http: names the origins.
    """

    def __init__(self, app: ASGIApp, http: HttpConfig) -> None:
        self._app = app
        self._rules = CORSMiddleware(
            app,
            allow_origins=http.cors_origins,
            allow_methods=METHODS,
            allow_headers=SENT,
            allow_credentials=http.cors_credentials,
            expose_headers=EXPOSED,
            max_age=round(http.cors_max_age_s),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        if not preflight or "origin" not in headers:
            await self._rules(scope, receive, send)
            return
        context = context_of(scope)
        context.route = "preflight"
        response: Response = self._rules.preflight_response(request_headers=headers)
        if response.status_code != 200:
            told = bytes(response.body).decode().removeprefix("Disallowed CORS ")
            problem = Problem(
                ErrorKind.PERMISSION_DENIED, f"pages of this origin may not do this: {told}", headers={"Vary": "Origin"}
            )
            context.kind = problem.kind
            response = context.respond(problem)
        await response(scope, receive, send)
