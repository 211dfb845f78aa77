"""POST /v1/classify and POST /v1/match: labels and texts held against a picture."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from vlp_spec.tasks import MatchQuery, MatchResult

from vlp_server.http.call import let_in
from vlp_server.http.classify_fields import CLASSIFY_CALL
from vlp_server.http.door import Door
from vlp_server.http.match_fields import MATCH_CALL
from vlp_server.http.openapi import picture_operation, problem_responses
from vlp_server.http.picture_request import read_call
from vlp_server.http.schemas import ClassifyScores, MatchScores

_PROBLEMS = problem_responses(400, 404, 408, 413, 415, 422, 429, 500, 503, 504)


def classify_router(door: Door) -> APIRouter:
    """The routes of both tasks."""
    router = APIRouter(tags=["tasks"])

    @router.post(
        "/v1/classify",
        operation_id="classify",
        summary="Choose among labels that the model was never trained on",
        openapi_extra=picture_operation(CLASSIFY_CALL),
        responses={200: {"model": ClassifyScores, "description": "All labels, best first"}, **_PROBLEMS},
    )
    async def classify(request: Request) -> Response:
        with let_in(door, request) as call:
            sent = await read_call(call, CLASSIFY_CALL, door.config.limits)
            ask = sent.ask
            reply = await call.answer_about(
                sent.images[0],
                lambda picture: door.service.classify(picture, ask.query, model=ask.model, deadline=call.deadline),
            )
        scores = [{"label": scored.label, "score": scored.score} for scored in reply.result.scores]
        return JSONResponse({"model": reply.model, "scores": scores})

    @router.post(
        "/v1/match",
        operation_id="match",
        summary="Say how well texts fit a picture",
        openapi_extra=picture_operation(MATCH_CALL),
        responses={
            200: {"model": MatchScores, "description": "Scores in the order of the texts"},
            **_PROBLEMS,
            **problem_responses(409),
        },
    )
    async def match(request: Request) -> Response:
        with let_in(door, request) as call:
            sent = await read_call(call, MATCH_CALL, door.config.limits)
            ask = sent.ask
            reply = await call.answer_about(
                sent.picture,
                lambda picture: door.service.match(picture, ask.queries, model=ask.model, deadline=call.deadline),
            )
        scores = [_text_score(query, result) for query, result in zip(ask.queries, reply.results, strict=True)]
        return JSONResponse({"model": reply.model, "scores": scores})

    return router


def _text_score(query: MatchQuery, result: MatchResult) -> dict[str, Any]:
    itm = result.score if result.itm is None else result.itm
    document = {"text": query.text, "score": result.score, "itm": itm}
    return document if result.itc is None else {**document, "itc": result.itc}
