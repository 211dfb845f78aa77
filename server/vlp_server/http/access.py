"""Lets a request in by its API key, before a byte of its body is read. Plain ASGI, inside the envelope and CORS."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from vlp_spec.errors import PermissionDeniedError, RequestError, UnauthenticatedError

from vlp_server.access.key_ring import KeyRing
from vlp_server.access.keys import AccessKey, Role
from vlp_server.http.context import context_of
from vlp_server.http.problems import problem_of
from vlp_server.http.route_roles import RouteRoles

KEY_HEADER = "X-Api-Key"
AUTHORIZATION_HEADER = "Authorization"
_SCHEME = "bearer"
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
                key = self._key_of(headers)
                context.key, context.access_key = key.name, key
                _check_role(key, need.role, need.route)
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

    def _key_of(self, headers: Headers) -> AccessKey:
        """The caller's key.

        Raises:
            UnauthenticatedError: there is none, or one that is not known.
        """
        sent = sent_keys(headers)
        if not sent:
            raise UnauthenticatedError(f"this needs an API key; {_HOW}")
        if len(sent) > 1:
            raise UnauthenticatedError("several different API keys were sent; send one")
        key = self._ring.find(sent.pop())
        if key is None:
            raise UnauthenticatedError("the API key that was sent is not known here")
        return key


def sent_keys(headers: Headers) -> set[bytes]:
    """All keys that a request carries; the same one twice is one. An Authorization that is no Bearer is not ours."""
    values = headers.getlist(KEY_HEADER)
    for value in headers.getlist(AUTHORIZATION_HEADER):
        scheme, _, key = value.strip().partition(" ")
        if scheme.lower() == _SCHEME:
            values.append(key)
    return {value.strip().encode("latin-1") for value in values if value.strip()}


def _check_role(key: AccessKey, needed: Role, route: str | None) -> None:
    if key.role.covers(needed):
        return
    # The table does not have what is the admins' alone, nor what leads nowhere.
    otherwise = ", or leads nowhere; /docs lists what there is" if route is None else ""
    raise PermissionDeniedError(f"role {key.role}: this needs a key of the role {needed}{otherwise}")
