"""The Open Inference Protocol v2 over HTTP, with the extensions that tritonclient and perf_analyzer use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from vlp_spec.errors import InvalidArgumentError, UnavailableError
from vlp_spec.tasks import Task

from vlp_server.access.prices import Weight
from vlp_server.http.call import let_in
from vlp_server.http.door import Door
from vlp_server.http.json_body import INLINE_BYTES, parse_object
from vlp_server.http.oip_answer import encode_reply, reply_response
from vlp_server.http.oip_body import read_infer_request, read_packed_body
from vlp_server.http.oip_schemas import (
    OipIndexRequest,
    OipInferResponse,
    OipLive,
    OipModel,
    OipModelLine,
    OipModelReady,
    OipReady,
    OipServer,
    OipStatistics,
    infer_operation,
    oip_problem_responses,
)

_MODEL = "/v2/models/{model}"
_VERSION = f"{_MODEL}/versions/{{version}}"
_RETRY_S = 1.0
_READ = oip_problem_responses(404, 503)
_INFER = oip_problem_responses(400, 404, 408, 413, 415, 422, 429, 500, 503, 504)
_INDEX = oip_problem_responses(400, 408, 413, 415, 429, 500, 503, 504)


def oip_router(door: Door) -> APIRouter:
    """The routes of the protocol."""
    router = APIRouter(tags=["open inference protocol"])
    _add_server_routes(router, door)
    _add_model_routes(router, door)
    _add_infer_routes(router, door)
    return router


def _add_server_routes(router: APIRouter, door: Door) -> None:
    @router.get("/v2", operation_id="oip_server", summary="Name and extensions", responses={200: {"model": OipServer}})
    async def server() -> Response:
        return JSONResponse(door.oip.server_metadata())

    @router.get(
        "/v2/health/live",
        operation_id="oip_live",
        summary="Whether the process works",
        responses={200: {"model": OipLive}, **oip_problem_responses(503)},
    )
    async def live() -> Response:
        if not door.oip.live():
            raise UnavailableError("an engine or the service itself is stuck; restart this process")
        return JSONResponse({"live": True})

    @router.get(
        "/v2/health/ready",
        operation_id="oip_ready",
        summary="Whether requests should come here",
        responses={200: {"model": OipReady}, **oip_problem_responses(503)},
    )
    async def ready() -> Response:
        if door.closing or not door.oip.ready():
            raise UnavailableError("not ready; /readyz says why", retry_after_s=_RETRY_S)
        return JSONResponse({"ready": True})

    @router.post(
        "/v2/repository/index",
        operation_id="oip_index",
        summary="List every model with its state",
        openapi_extra={
            "requestBody": {
                "required": False,
                "content": {"application/json": {"schema": OipIndexRequest.model_json_schema()}},
            }
        },
        responses={200: {"model": list[OipModelLine]}, **_INDEX},
    )
    async def index(request: Request) -> Response:
        with let_in(door, request) as call:
            body = await read_packed_body(call)
            return JSONResponse(door.oip.repository_index(only_ready=_only_ready(body)))


def _add_model_routes(router: APIRouter, door: Door) -> None:
    oip = door.oip

    # Before the routes of models, or a model of this name would be meant.
    @router.get(
        "/v2/models/stats",
        operation_id="oip_all_statistics",
        summary="What was asked of all models",
        responses={200: {"model": OipStatistics}, **_READ},
    )
    async def all_statistics() -> Response:
        return JSONResponse({"model_stats": oip.statistics()})

    def ready(name: str, version: str) -> dict[str, Any]:
        if not oip.model_ready(name, version):
            raise UnavailableError(f"model {name[:128]!r}: not ready", retry_after_s=_RETRY_S)
        return {"name": name, "ready": True}

    def statistics(name: str, version: str) -> dict[str, Any]:
        return {"model_stats": oip.statistics(name, version)}

    _add_about(router, "", ("model", "Inputs and outputs of a model", OipModel), oip.model_metadata)
    _add_about(router, "/ready", ("model_ready", "Whether a model answers", OipModelReady), ready)
    _add_about(router, "/config", ("config", "Configuration as Triton words it", dict[str, Any]), oip.model_config)
    _add_about(router, "/stats", ("statistics", "What was asked of a model", OipStatistics), statistics)


def _add_about(
    router: APIRouter, end: str, told: tuple[str, str, Any], document: Callable[[str, str], dict[str, Any]]
) -> None:
    """A route that tells something of a model, and of one of its versions.

    Args:
        told: name of the operation, its summary, and the document's type.
        document: of a model and a version, which is "" where none is named.
    """
    name, summary, kind = told
    responses: dict[int | str, dict[str, Any]] = {200: {"model": kind}, **_READ}

    @router.get(f"{_MODEL}{end}", operation_id=f"oip_{name}", summary=summary, responses=responses)
    async def of_model(model: str) -> Response:
        return JSONResponse(document(model, ""))

    @router.get(f"{_VERSION}{end}", operation_id=f"oip_{name}_of_version", summary=summary, responses=responses)
    async def of_version(model: str, version: str) -> Response:
        return JSONResponse(document(model, version))


def _add_infer_routes(router: APIRouter, door: Door) -> None:
    responses: dict[int | str, dict[str, Any]] = {
        200: {
            "model": OipInferResponse,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        **_INFER,
    }
    summary = "Run a graph on arrays, or do a task"

    @router.post(
        f"{_MODEL}/infer",
        operation_id="oip_infer",
        summary=summary,
        openapi_extra=infer_operation(),
        responses=responses,
    )
    async def infer(request: Request, model: str) -> Response:
        return await _infer(door, request, model, "")

    @router.post(
        f"{_VERSION}/infer",
        operation_id="oip_infer_of_version",
        summary=summary,
        openapi_extra=infer_operation(),
        responses=responses,
    )
    async def infer_of_version(request: Request, model: str, version: str) -> Response:
        return await _infer(door, request, model, version)


async def _infer(door: Door, request: Request, model: str, version: str) -> Response:
    with ExitStack() as held:
        call = held.enter_context(let_in(door, request))
        asked = await read_infer_request(call, model, version)

        def charge(weight: Weight, task: Task | None) -> None:
            call.context.task = None if task is None else str(task)
            call.charge(weight)

        reply = await call.answer(door.oip.infer(asked, charge, call.deadline))
        is_small = sum(len(output.data) for output in reply.outputs) <= INLINE_BYTES
        encoded = encode_reply(asked, reply) if is_small else await asyncio.to_thread(encode_reply, asked, reply)
        return reply_response(*encoded, held.pop_all())


def _only_ready(body: bytes) -> bool:
    """What the body of a request for the index says; an empty one says nothing."""
    if not body.strip():
        return False
    document = parse_object("body", body)
    wanted = document.get("ready", False)
    if not isinstance(wanted, bool) or set(document) - {"ready"}:
        raise InvalidArgumentError("body: expected nothing, or an object with `ready`, true or false", field="ready")
    return wanted
