"""POST /v1/embeddings: vectors of texts and pictures, in OpenAI's shape."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vlp_server.access.prices import embedding_weight
from vlp_server.core.embed_flow import Source
from vlp_server.core.fan_out import all_or_first_error
from vlp_server.core.records import EmbedReply
from vlp_server.http.call import Call, let_in
from vlp_server.http.door import Door
from vlp_server.http.embeddings_request import EmbeddingsAsk, EmbeddingsJson, embeddings_ask
from vlp_server.http.json_body import read_json
from vlp_server.http.openapi import json_operation, openai_problem_responses
from vlp_server.http.schemas import EmbeddingList
from vlp_server.intake.picture_source import PARALLEL_FETCHES, PictureUrl

# Numbers of an answer from which on it is written in a thread.
_INLINE_NUMBERS = 16_384


def embeddings_router(door: Door) -> APIRouter:
    """The route of the task."""
    router = APIRouter(tags=["tasks"])

    @router.post(
        "/v1/embeddings",
        operation_id="embeddings",
        summary="Make vectors of texts and pictures (OpenAI's shape)",
        openapi_extra=json_operation(EmbeddingsJson),
        responses={
            200: {"model": EmbeddingList, "description": "Vectors in the order of the inputs"},
            **openai_problem_responses(400, 404, 408, 413, 415, 422, 429, 500, 503, 504),
        },
    )
    async def embeddings(request: Request) -> Response:
        with let_in(door, request) as call:
            fields = await read_json(request, call.body, EmbeddingsJson)
            ask = await embeddings_ask(fields, door.config.limits)
            texts = [item for item in ask.items if isinstance(item, str)]
            call.charge(embedding_weight(texts, len(ask.items) - len(texts)))
            reply = await call.answer(_embed(door, call, ask))
            if reply.vectors.size > _INLINE_NUMBERS:
                return await asyncio.to_thread(_response, reply, ask.as_base64)
        return _response(reply, ask.as_base64)

    return router


async def _embed(door: Door, call: Call, ask: EmbeddingsAsk) -> EmbedReply:
    """All that is done once the request has been read."""

    async def fetch(item: Source | PictureUrl) -> Source:
        return item if isinstance(item, str) else await call.picture(item)

    items = await all_or_first_error(ask.items, fetch, PARALLEL_FETCHES)
    return await door.service.embed(items, dimensions=ask.dimensions, model=ask.model, deadline=call.deadline)


def _response(reply: EmbedReply, as_base64: bool) -> Response:
    """The answer; floats are written so that they read back as the same float32."""
    rows: list[Any]
    if as_base64:
        rows = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in reply.vectors]
    else:
        rows = reply.vectors.tolist()
    return JSONResponse(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)],
            "model": reply.model,
            "usage": {"prompt_tokens": reply.tokens, "total_tokens": reply.tokens},
        }
    )
