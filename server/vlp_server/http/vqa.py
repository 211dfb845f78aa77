"""POST /v1/vqa: questions about a picture."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from vlp_spec.tasks import ScoredAnswer, VqaQuery

from vlp_server.core.records import VqaReply
from vlp_server.http.call import let_in
from vlp_server.http.door import Door
from vlp_server.http.openapi import picture_operation, problem_responses
from vlp_server.http.picture_request import read_call
from vlp_server.http.schemas import VqaAnswers, VqaResults
from vlp_server.http.text_queries import TextsAsk
from vlp_server.http.vqa_fields import VQA_CALL


def vqa_router(door: Door) -> APIRouter:
    """The route of the task."""
    router = APIRouter(tags=["tasks"])

    @router.post(
        "/v1/vqa",
        operation_id="vqa",
        summary="Ask questions about a picture",
        openapi_extra=picture_operation(VQA_CALL),
        responses={
            200: {"model": VqaAnswers | VqaResults, "description": "Answers, best first"},
            **problem_responses(400, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504),
        },
    )
    async def vqa(request: Request) -> Response:
        with let_in(door, request) as call:
            sent = await read_call(call, VQA_CALL, door.config.limits)
            ask = sent.ask
            reply = await call.answer_about(
                sent.picture,
                lambda picture: door.service.vqa(picture, ask.queries, model=ask.model, deadline=call.deadline),
            )
        return JSONResponse(_document(ask, reply))

    return router


def _document(ask: TextsAsk[VqaQuery], reply: VqaReply) -> dict[str, Any]:
    if not ask.listed:
        return {"model": reply.model, "answers": _answers(reply.results[0].answers)}
    results = [
        {"question": query.question, "answers": _answers(result.answers)}
        for query, result in zip(ask.queries, reply.results, strict=True)
    ]
    return {"model": reply.model, "results": results}


def _answers(scored: tuple[ScoredAnswer, ...]) -> list[dict[str, Any]]:
    return [{"answer": answer.answer, "score": answer.score} for answer in scored]
