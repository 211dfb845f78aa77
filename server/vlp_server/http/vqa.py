"""POST /v1/vqa: questions about a picture."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from vlp_spec.tasks import ScoredAnswer

from vlp_server.core.records import VqaReply
from vlp_server.http.body import BodyStream
from vlp_server.http.context import context_of, deadline_of
from vlp_server.http.disconnect import until_disconnect
from vlp_server.http.door import Door
from vlp_server.http.memory import TakeBytes
from vlp_server.http.openapi import VQA_OPERATION, problem_responses
from vlp_server.http.pictures import PictureUrl, fetch_source
from vlp_server.http.schemas import VqaAnswers, VqaResults
from vlp_server.http.vqa_fields import VqaAsk
from vlp_server.http.vqa_request import read_vqa


def vqa_router(door: Door) -> APIRouter:
    """The route of the task."""
    router = APIRouter(tags=["tasks"])

    @router.post(
        "/v1/vqa",
        operation_id="vqa",
        summary="Ask questions about a picture",
        openapi_extra=VQA_OPERATION,
        responses={
            200: {"model": VqaAnswers | VqaResults, "description": "Answers, best first"},
            **problem_responses(400, 404, 408, 413, 415, 422, 429, 500, 503, 504),
        },
    )
    async def vqa(request: Request) -> Response:
        context = context_of(request.scope)
        with door.admit() as take:
            deadline = deadline_of(request.headers, context.started, door.config.http.max_request_timeout_s)
            body = BodyStream(request.receive, request.headers, door.body_limits, take, deadline)
            source, ask = await read_vqa(request, body, door.config.limits)
            reply = await until_disconnect(request.receive, _answer(door, source, ask, deadline, take))
        context.timings, context.model = reply.timings, reply.model
        return JSONResponse(_document(ask, reply))

    return router


async def _answer(
    door: Door, source: bytes | PictureUrl, ask: VqaAsk, deadline: float | None, take: TakeBytes
) -> VqaReply:
    """All that is done once the request has been read."""
    picture = await fetch_source(source, door.fetch, take, deadline) if isinstance(source, PictureUrl) else source
    return await door.service.vqa(picture, ask.queries, model=ask.model, deadline=deadline)


def _document(ask: VqaAsk, reply: VqaReply) -> dict[str, Any]:
    if not ask.listed:
        return {"model": reply.model, "answers": _answers(reply.results[0].answers)}
    results = [
        {"question": query.question, "answers": _answers(result.answers)}
        for query, result in zip(ask.queries, reply.results, strict=True)
    ]
    return {"model": reply.model, "results": results}


def _answers(scored: tuple[ScoredAnswer, ...]) -> list[dict[str, Any]]:
    return [{"answer": answer.answer, "score": answer.score} for answer in scored]
