"""Lets a request in by its API key, before a byte of its body is read. Plain ASGI, inside the envelope and CORS."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from vlp_spec.errors import RequestError

from vlp_server.access.key_ring import KeyRing
from vlp_server.access.keys import AccessKey
from vlp_server.access.shown_key import bearer_key, check_role, key_of
from vlp_server.http.context import context_of
from vlp_server.http.problems import problem_of
from vlp_server.http.route_roles import RouteRoles

KEY_HEADER = "X-Api-Key"
AUTHORIZATION_HEADER = "Authorization"
_HOW = f"send it as '{AUTHORIZATION_HEADER}: Bearer KEY' or '{KEY_HEADER}: KEY'"


class Access:
    """Refuses what a caller's key does not allow.

    Args:
        app: what answers the others.
        ring: the keys in force.
        roles: what each route needs.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing, roles: RouteRoles) -> None:
        self._app = app
        self._ring = ring
        self._roles = roles

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":  # the server speaks no other protocol
            await self._app(scope, receive, send)
            return
        context = context_of(scope)
        headers = Headers(scope=scope)
        need = self._roles.of(scope["method"], scope["path"])
        try:
            if need.role is not None:
                key = key_of(self._ring, sent_keys(headers), _HOW)
                context.key, context.access_key = key.name, key
                # The table does not have what is the admins' alone, nor what leads nowhere.
                otherwise = ", or leads nowhere; /docs lists what there is" if need.route is None else ""
                check_role(key, need.role, otherwise)
            elif (known := self._known_key_of(headers)) is not None:
                context.access_key = known  # not named in the log: nothing was asked of it
        except RequestError as error:
            context.route = need.route
            await context.refuse(problem_of(error), error, headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _known_key_of(self, headers: Headers) -> AccessKey | None:
        """The key that a caller shows where none is asked for."""
        sent = sent_keys(headers)
        return self._ring.find(sent.pop()) if len(sent) == 1 else None


def sent_keys(headers: Headers) -> set[bytes]:
    """All keys that a request carries; the same one twice is one."""
    values = [*headers.getlist(KEY_HEADER), *map(bearer_key, headers.getlist(AUTHORIZATION_HEADER))]
    return {value.strip().encode("latin-1") for value in values if value is not None and value.strip()}
