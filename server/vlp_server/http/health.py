"""Liveness, readiness and figures, for those who run the server."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from vlp_spec.errors import ErrorKind

from vlp_server.access.limit_figures import NamelessFigures
from vlp_server.http.context import context_of
from vlp_server.http.door import Door
from vlp_server.http.openapi import problem_responses
from vlp_server.http.problems import Problem
from vlp_server.http.schemas import Liveness, Readiness

_RETRY_AFTER_S = 1.0


def health_router(door: Door) -> APIRouter:
    """The routes for operators."""
    router = APIRouter(tags=["operation"])

    @router.get(
        "/livez",
        operation_id="livez",
        summary="Whether the process works; 503: restart it",
        responses={200: {"model": Liveness}, **problem_responses(503)},
    )
    async def livez(request: Request) -> Response:
        if door.service.alive():
            return JSONResponse({"alive": True})
        problem = Problem(ErrorKind.UNAVAILABLE, "an engine or the service itself is stuck; restart this process")
        return problem.response(context_of(request.scope).request_id)

    @router.get(
        "/readyz",
        operation_id="readyz",
        summary="Whether requests should come here; 503: not now",
        responses={200: {"model": Readiness}, **problem_responses(503)},
    )
    async def readyz(request: Request) -> Response:
        readiness = door.service.readiness()
        reasons = dict(readiness.models)
        if readiness.ready and not door.closing:
            return JSONResponse({"ready": True, "models": reasons})
        waiting = [f"{name}: {reason}" for name, reason in reasons.items() if reason != "ready"]
        detail = "the server is stopping" if door.closing else "; ".join(waiting) or readiness.reason
        problem = Problem(
            ErrorKind.UNAVAILABLE,
            detail,
            retry_after_s=_RETRY_AFTER_S,
            extras={"ready": False, "models": reasons},
        )
        return problem.response(context_of(request.scope).request_id)

    @router.get(
        "/metrics",
        operation_id="metrics",
        summary="Figures in Prometheus' text form",
        response_class=Response,
        responses={200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}},
    )
    async def metrics(request: Request) -> Response:
        registries: list[Any] = [door.service.metrics, door.metrics.registry]
        if door.config.access.asks_for_keys and context_of(request.scope).access_key is None:
            registries = [NamelessFigures(registry) for registry in registries]
        text = b"".join(map(generate_latest, registries))
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    @router.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse("/docs")

    return router
