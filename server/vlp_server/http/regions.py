"""POST /v1/regions: what a picture shows where, with the features that other models read."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import ExitStack
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vlp_server.core.records import RegionsReply
from vlp_server.http.call import let_in
from vlp_server.http.door import Door
from vlp_server.http.held_response import HeldResponse
from vlp_server.http.openapi import picture_operation, problem_responses
from vlp_server.http.picture_request import read_call
from vlp_server.http.regions_fields import REGIONS_CALL
from vlp_server.http.schemas import FoundRegions


def regions_router(door: Door) -> APIRouter:
    """The route of the task."""
    router = APIRouter(tags=["tasks"])

    @router.post(
        "/v1/regions",
        operation_id="regions",
        summary="Find the regions of a picture, with their features",
        openapi_extra=picture_operation(REGIONS_CALL),
        responses={
            200: {"model": FoundRegions, "description": "Regions, the most confident first"},
            **problem_responses(400, 404, 408, 413, 415, 422, 429, 500, 503, 504),
        },
    )
    async def regions(request: Request) -> Response:
        with ExitStack() as held:
            call = held.enter_context(let_in(door, request))
            sent = await read_call(call, REGIONS_CALL, door.config.limits)
            ask = sent.ask
            reply = await call.answer_about(
                sent.images[0],
                lambda picture: door.service.regions(picture, model=ask.model, deadline=call.deadline),
            )
            body = await asyncio.to_thread(_body, reply, ask.features)
            call.take(len(body))
            return HeldResponse(body, held.pop_all(), media_type="application/json")

    return router


def _body(reply: RegionsReply, with_features: bool) -> bytes:
    """The answer; boxes and scores are written so that they read back as the same float32."""
    found, regions = reply.found, reply.found.regions
    scores = [None] * len(regions) if regions.scores is None else regions.scores.tolist()
    rows = zip(regions.boxes.tolist(), scores, found.names, found.attributes, strict=True)
    document: dict[str, Any] = {
        "model": reply.model,
        "encoder": reply.encoder,
        "regions": [
            {"box": box, "score": score, "name": name, "attribute": attribute or None}
            for box, score, name, attribute in rows
        ],
    }
    if with_features:
        document["features"] = base64.b64encode(regions.features.astype("<f4").tobytes()).decode()
        document["feature_size"] = regions.features.shape[1]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
