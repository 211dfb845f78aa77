"""Keeps web pages of other origins from changing what a server holds that asks nobody for a key.

A browser sends a form or a picture of any page to any address that it reaches, this computer's own among them, and asks
only whether the page may read the answer. What merely asks is let through: its answer is not shown to the page.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from vlp_spec.errors import PermissionDeniedError

from vlp_server.access.keys import Role
from vlp_server.http.context import context_of
from vlp_server.http.problems import problem_of
from vlp_server.http.route_roles import RouteRoles

_HARMLESS = ("GET", "HEAD", "OPTIONS")


class ForeignPages:
    """Refuses requests of pages that are neither this server's own nor allowed.

    Args:
        app: what answers the others.
        origins: that are allowed; "*" is all of them.
        roles: tells which requests change something: those that would need more than to read.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str], roles: RouteRoles) -> None:
        self._app = app
        self._origins = origins
        self._roles = roles

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] == "http" and scope["method"] not in _HARMLESS:
            headers = Headers(scope=scope)
            need = self._roles.of(scope["method"], scope["path"])
            changes = need.role not in (None, Role.READ)
            if changes and not all(self._may(origin, headers) for origin in headers.getlist("origin")):
                context = context_of(scope)
                context.route = need.route
                error = PermissionDeniedError(
                    "pages of this origin change nothing here: name it in http.cors_origins, or give the server keys"
                )
                await context.refuse(problem_of(error), error, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _may(self, origin: str, headers: Headers) -> bool:
        if "*" in self._origins or origin in self._origins:
            return True
        # Whether TLS was ended before this server is not known, so its own pages may have either scheme.
        scheme, separator, host = origin.partition("://")
        return scheme in ("http", "https") and bool(separator) and host.lower() == headers.get("host", "").lower()
