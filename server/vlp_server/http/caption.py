"""POST /v1/caption: what a picture shows, in words, whole or as they are written."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from vlp_spec.errors import InternalError

from vlp_server.core.records import CaptionPiece, CaptionReply
from vlp_server.http.call import Call, let_in
from vlp_server.http.caption_fields import CAPTION_CALL, CaptionAsk
from vlp_server.http.door import Door
from vlp_server.http.drawn_items import DrawnItems
from vlp_server.http.event_stream import EVENT_MEDIA_TYPE, EventStream, event
from vlp_server.http.openapi import event_content, picture_operation, problem_responses
from vlp_server.http.picture_request import SentCall, read_call
from vlp_server.http.schemas import Captions

DONE_EVENT = "done"
_STREAM_TEXT = (
    'With `stream`: `data: {"text"}` for the words that follow those before, and at the end `event: done` with the '
    "whole answer and `timings_ms`; or, where something fails on the way, `event: error` with the document of the "
    "problem. What is refused is refused before the first event, with its status. Lines that begin with a colon say "
    "only that the server is still there."
)
_STREAM_EXAMPLE = (
    'data: {"text": "a red"}\n\ndata: {"text": " boat"}\n\nevent: done\n'
    'data: {"captions": [{"text": "a red boat", "score": 0.9}], "model": "name@1", "timings_ms": {"total": 80.1}}\n\n'
)


def caption_router(door: Door) -> APIRouter:
    """The route of the task."""
    router = APIRouter(tags=["tasks"])

    @router.post(
        "/v1/caption",
        operation_id="caption",
        summary="Say what a picture shows",
        openapi_extra=picture_operation(CAPTION_CALL),
        responses={
            200: {
                "model": Captions,
                "description": f"Captions, best first. {_STREAM_TEXT}",
                "content": {EVENT_MEDIA_TYPE: event_content(_STREAM_EXAMPLE)},
            },
            **problem_responses(400, 404, 408, 413, 415, 422, 429, 500, 503, 504),
        },
    )
    async def caption(request: Request) -> Response:
        async with AsyncExitStack() as held:
            call = held.enter_context(let_in(door, request))
            sent = await read_call(call, CAPTION_CALL, door.config.limits)
            ask = sent.ask
            if not ask.stream:
                reply = await call.answer_about(
                    sent.images[0],
                    lambda picture: door.service.caption(picture, ask.query, model=ask.model, deadline=call.deadline),
                )
                return JSONResponse(_document(reply))
            events = DrawnItems(_events(door, call, sent))
            held.push_async_callback(events.close)
            # Nothing is sent before something is there to be sent: what is refused keeps its status.
            await call.wait(events.first())
            return EventStream(events, call.context, held.pop_all())

    return router


async def _events(door: Door, call: Call, sent: SentCall[CaptionAsk]) -> AsyncGenerator[bytes, None]:
    """The words, then the whole answer, as events."""
    ask = sent.ask
    picture = await call.picture(sent.images[0])
    reply = None
    stream = door.service.stream_caption(picture, ask.query, model=ask.model, deadline=call.deadline)
    async with aclosing(stream) as items:
        async for item in items:
            if isinstance(item, CaptionPiece):
                yield event({"text": item.text})
            else:
                # Not the end yet: closed here, it would be counted as one that its caller has left.
                reply = item
    if reply is None:
        raise InternalError(detail="a stream of words ended without its answer")
    call.note(reply)
    yield event({**_document(reply), "timings_ms": call.context.timings_ms()}, DONE_EVENT)


def _document(reply: CaptionReply) -> dict[str, Any]:
    captions = [{"text": scored.text, "score": scored.score} for scored in reply.results[0].captions]
    return {"captions": captions, "model": reply.model}
