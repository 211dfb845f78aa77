"""Puts the HTTP door together: routes, the error handlers, the envelope. No logic of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from vlp_spec.errors import ErrorKind, InternalError, VlpError

from vlp_server.access.key_ring import KeyRing
from vlp_server.access.limits import AccessLimits
from vlp_server.config.server import ServerConfig
from vlp_server.http.access import Access
from vlp_server.http.admin_models import admin_models_router
from vlp_server.http.caption import caption_router
from vlp_server.http.chat import chat_router
from vlp_server.http.classify import classify_router
from vlp_server.http.collections import collections_router
from vlp_server.http.context import context_of
from vlp_server.http.cors import Cors
from vlp_server.http.described_app import DescribedApp
from vlp_server.http.docs_page import docs_page
from vlp_server.http.door import Door
from vlp_server.http.embeddings import embeddings_router
from vlp_server.http.entailment import entailment_router
from vlp_server.http.envelope import Envelope
from vlp_server.http.foreign_pages import ForeignPages
from vlp_server.http.grounding import grounding_router
from vlp_server.http.health import health_router
from vlp_server.http.last_resort import LastResort
from vlp_server.http.model_list import models_router
from vlp_server.http.oip import oip_router
from vlp_server.http.problems import Problem, ProblemError, problem_of, problem_of_status
from vlp_server.http.reasoning import reasoning_router
from vlp_server.http.regions import regions_router
from vlp_server.http.route_roles import RouteRoles
from vlp_server.http.vqa import vqa_router
from vlp_server.intake.fetch import UrlFetcher
from vlp_server.product_version import product_version

if TYPE_CHECKING:
    from vlp_server.core.service import Service

_TEXT = (
    "Pictures asked, described, judged, compared, labelled, embedded and searched by pretrained vision-and-language "
    "models."
)
_ROUTERS = (
    vqa_router,
    caption_router,
    classify_router,
    entailment_router,
    reasoning_router,
    grounding_router,
    regions_router,
    embeddings_router,
    chat_router,
    collections_router,
    models_router,
    admin_models_router,
    health_router,
    oip_router,
)


def create_app(
    service: Service,
    config: ServerConfig,
    *,
    fetcher: UrlFetcher | None = None,
    ring: KeyRing | None = None,
    limits: AccessLimits | None = None,
) -> FastAPI:
    """Build the HTTP door of a service.

    Args:
        service: started and closed by the caller.
        config: the whole configuration.
        fetcher: in place of the one that the configuration makes.
        ring: the keys in force, likewise, where another door asks the same ones.
        limits: of the callers, likewise.

    Returns:
        the application; `app.state.door` is its `Door`, whose `limits` other doors share, and `app.state.key_ring` the
        keys in force, None where keys are not asked for.
    """
    door = Door(service, config, fetcher, limits)
    roles = RouteRoles(open_metrics=config.access.open_metrics)
    app = DescribedApp(
        roles=roles,
        title="vlpserve",
        version=product_version(),
        description=_TEXT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.door = door
    for make_router in _ROUTERS:
        app.include_router(make_router(door))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(docs_page(app.openapi()))

    app.add_exception_handler(VlpError, _answer_error)
    app.add_exception_handler(ProblemError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_error)
    if ring is None and config.access.asks_for_keys:
        ring = KeyRing(config.access.keys, config.access.keys_file)
    app.state.key_ring = ring
    if ring is not None:
        app.add_middleware(Access, ring=ring, roles=roles)
    else:
        app.add_middleware(ForeignPages, origins=config.http.cors_origins, roles=roles)
    app.add_middleware(LastResort)
    if config.http.cors_origins:
        app.add_middleware(Cors, http=config.http)
    app.add_middleware(Envelope, metrics=door.metrics, access_log=door.access_log)
    return app


async def _answer_error(request: Request, error: Exception) -> Response:
    return context_of(request.scope).refuse(_problem(request, error), error, request.headers)


def _problem(request: Request, error: Exception) -> Problem:
    if isinstance(error, VlpError):
        return problem_of(error)
    if isinstance(error, ProblemError):
        return error.problem
    if isinstance(error, HTTPException):
        headers = error.headers
        if error.status_code == 405 and (methods := request.app.methods_of(request.scope["path"])):
            # The framework names those of the first route that the path leads to.
            headers = {**(headers or {}), "Allow": ", ".join(methods)}
        return problem_of_status(error.status_code, request.url.path, headers)
    if isinstance(error, RequestValidationError):
        return Problem(ErrorKind.INVALID_ARGUMENT, "the request's parameters are not as described; see /docs")
    return problem_of(InternalError(detail=str(error)))
