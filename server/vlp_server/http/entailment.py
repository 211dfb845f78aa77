"""POST /v1/entailment: what a picture says of a hypothesis."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from vlp_spec.tasks import EntailmentQuery, EntailmentResult

from vlp_server.core.records import EntailmentReply
from vlp_server.http.call import let_in
from vlp_server.http.door import Door
from vlp_server.http.entailment_fields import ENTAILMENT_CALL
from vlp_server.http.openapi import picture_operation, problem_responses
from vlp_server.http.picture_request import read_call
from vlp_server.http.schemas import EntailmentResults, EntailmentScores
from vlp_server.http.text_queries import TextsAsk


def entailment_router(door: Door) -> APIRouter:
    """The route of the task."""
    router = APIRouter(tags=["tasks"])

    @router.post(
        "/v1/entailment",
        operation_id="entailment",
        summary="Say whether a picture entails a hypothesis",
        openapi_extra=picture_operation(ENTAILMENT_CALL),
        responses={
            200: {"model": EntailmentScores | EntailmentResults, "description": "Labels with their probabilities"},
            **problem_responses(400, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504),
        },
    )
    async def entailment(request: Request) -> Response:
        with let_in(door, request) as call:
            sent = await read_call(call, ENTAILMENT_CALL, door.config.limits)
            ask = sent.ask
            reply = await call.answer_about(
                sent.picture,
                lambda picture: door.service.entailment(picture, ask.queries, model=ask.model, deadline=call.deadline),
            )
        return JSONResponse(_document(ask, reply))

    return router


def _document(ask: TextsAsk[EntailmentQuery], reply: EntailmentReply) -> dict[str, Any]:
    if not ask.listed:
        return {"model": reply.model, **_judgement(reply.results[0])}
    results = [
        {"hypothesis": query.hypothesis, **_judgement(result)}
        for query, result in zip(ask.queries, reply.results, strict=True)
    ]
    return {"model": reply.model, "results": results}


def _judgement(result: EntailmentResult) -> dict[str, Any]:
    return {"label": result.label, "scores": {scored.label: scored.score for scored in result.scores}}
