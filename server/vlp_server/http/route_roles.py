"""Which role each route needs. The one table; what is not in it needs the highest role.

A route that was forgotten here is so closed to all but admins, and never open by mistake; a test holds the table
against the routes that there are. All under /v1/admin/ is left out on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.routing import compile_path

from vlp_server.access.keys import Role

_OPEN = (
    "GET /",
    "GET /docs",
    "GET /openapi.json",
    "GET /livez",
    "GET /readyz",
    "GET /v2/health/live",
    "GET /v2/health/ready",
)
_METRICS = ("GET /metrics",)
_READ = (
    "GET /v1/models",
    "GET /v1/models/{model}",
    "POST /v1/vqa",
    "POST /v1/caption",
    "POST /v1/classify",
    "POST /v1/match",
    "POST /v1/entailment",
    "POST /v1/reasoning",
    "POST /v1/grounding",
    "POST /v1/regions",
    "POST /v1/embeddings",
    "POST /v1/chat/completions",
    "GET /v1/collections",
    "GET /v1/collections/{name}",
    "GET /v1/collections/{name}/items/{item_id}",
    "GET /v1/collections/{name}/items/{item_id}/image",
    # These two only ask, though they are sent by POST.
    "POST /v1/collections/{name}/items/lookup",
    "POST /v1/collections/{name}/search",
)
_OIP_MODEL = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
_OIP = (
    "GET /v2",
    "POST /v2/repository/index",
    "GET /v2/models/stats",
    *(f"GET {model}{end}" for model in _OIP_MODEL for end in ("", "/ready", "/config", "/stats")),
    *(f"POST {model}/infer" for model in _OIP_MODEL),
)
_WRITE = (
    "PUT /v1/collections/{name}",
    "DELETE /v1/collections/{name}",
    "POST /v1/collections/{name}/items",
    "DELETE /v1/collections/{name}/items/{item_id}",
)


@dataclass(frozen=True, slots=True)
class RouteNeed:
    """What a route needs.

    Attributes:
        role: of the caller's key; None: no key at all.
        route: the route's path with its parameters' names, None where the table does not have it.
    """

    role: Role | None
    route: str | None = None


_UNKNOWN = RouteNeed(Role.ADMIN)


class RouteRoles:
    """The table, ready to be asked.

    Args:
        open_metrics: whether /metrics needs no key.
    """

    def __init__(self, *, open_metrics: bool) -> None:
        self._rows = [
            *_rows(_OPEN, None),
            *_rows(_METRICS, None if open_metrics else Role.READ),
            *_rows(_READ, Role.READ),
            *_rows(_OIP, Role.READ),
            *_rows(_WRITE, Role.WRITE),
        ]

    def of(self, method: str, path: str) -> RouteNeed:
        """What a request needs.

        Args:
            method: as it was sent.
            path: decoded, as the router sees it; or a route's own, with its parameters' names.
        """
        # A HEAD asks for no more than its GET does.
        wanted = "GET" if method == "HEAD" else method
        for known, pattern, need in self._rows:
            if known == wanted and pattern.match(path):
                return need
        return _UNKNOWN


def _rows(routes: Iterable[str], role: Role | None) -> Iterable[tuple[str, re.Pattern[str], RouteNeed]]:
    for route in routes:
        method, _, path = route.partition(" ")
        # The router's own patterns, so that the two never read a path differently.
        yield method, compile_path(path)[0], RouteNeed(role, path)
