"""POST /v1/reasoning: whether a statement about two pictures is true."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from vlp_spec.tasks import ReasoningQuery, ReasoningResult

from vlp_server.core.records import ReasoningReply
from vlp_server.http.call import let_in
from vlp_server.http.door import Door
from vlp_server.http.openapi import picture_operation, problem_responses
from vlp_server.http.picture_request import read_call
from vlp_server.http.reasoning_fields import REASONING_CALL
from vlp_server.http.schemas import ReasoningResults, ReasoningTruth
from vlp_server.http.text_queries import TextsAsk


def reasoning_router(door: Door) -> APIRouter:
    """The route of the task."""
    router = APIRouter(tags=["tasks"])

    @router.post(
        "/v1/reasoning",
        operation_id="reasoning",
        summary="Say whether a statement about two pictures is true",
        openapi_extra=picture_operation(REASONING_CALL),
        responses={
            200: {"model": ReasoningTruth | ReasoningResults, "description": "Truth with its probability"},
            **problem_responses(400, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504),
        },
    )
    async def reasoning(request: Request) -> Response:
        with let_in(door, request) as call:
            sent = await read_call(call, REASONING_CALL, door.config.limits)
            ask = sent.ask

            async def compare() -> ReasoningReply:
                left, right = await call.pictures(sent.pictures)
                return await door.service.reasoning((left, right), ask.queries, model=ask.model, deadline=call.deadline)

            reply = await call.answer(compare())
        return JSONResponse(_document(ask, reply))

    return router


def _document(ask: TextsAsk[ReasoningQuery], reply: ReasoningReply) -> dict[str, Any]:
    if not ask.listed:
        return {"model": reply.model, **_truth(reply.results[0])}
    results = [
        {"statement": query.statement, **_truth(result)}
        for query, result in zip(ask.queries, reply.results, strict=True)
    ]
    return {"model": reply.model, "results": results}


def _truth(result: ReasoningResult) -> dict[str, Any]:
    return {"label": result.label, "score": result.score}
