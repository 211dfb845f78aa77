"""POST /v1/grounding: which part of a picture a phrase names."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from vlp_spec.tasks import GroundingQuery, GroundingResult

from vlp_server.core.records import GroundingReply
from vlp_server.http.call import let_in
from vlp_server.http.door import Door
from vlp_server.http.grounding_fields import GROUNDING_CALL
from vlp_server.http.openapi import picture_operation, problem_responses
from vlp_server.http.picture_request import read_call
from vlp_server.http.schemas import GroundingBoxes, GroundingResults
from vlp_server.http.text_queries import TextsAsk


def grounding_router(door: Door) -> APIRouter:
    """The route of the task."""
    router = APIRouter(tags=["tasks"])

    @router.post(
        "/v1/grounding",
        operation_id="grounding",
        summary="Find what a phrase names in a picture",
        openapi_extra=picture_operation(GROUNDING_CALL),
        responses={
            200: {"model": GroundingBoxes | GroundingResults, "description": "Boxes, best first"},
            **problem_responses(400, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504),
        },
    )
    async def grounding(request: Request) -> Response:
        with let_in(door, request) as call:
            sent = await read_call(call, GROUNDING_CALL, door.config.limits)
            ask = sent.ask
            reply = await call.answer_about(
                sent.picture,
                lambda picture: door.service.grounding(picture, ask.queries, model=ask.model, deadline=call.deadline),
            )
        return JSONResponse(_document(ask, reply))

    return router


def _document(ask: TextsAsk[GroundingQuery], reply: GroundingReply) -> dict[str, Any]:
    if not ask.listed:
        return {"model": reply.model, **_boxes(reply.results[0])}
    results = [
        {"phrase": query.phrase, **_boxes(result)} for query, result in zip(ask.queries, reply.results, strict=True)
    ]
    return {"model": reply.model, "results": results}


def _boxes(result: GroundingResult) -> dict[str, Any]:
    return {"boxes": [{"box": list(scored.box), "score": scored.score} for scored in result.boxes]}
