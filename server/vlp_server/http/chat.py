"""POST /v1/chat/completions: questions and captions in the shape of OpenAI's chats."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vlp_server.http.call import let_in
from vlp_server.http.chat_ask import chat_ask
from vlp_server.http.chat_documents import DONE, ChatDocuments, Completion
from vlp_server.http.chat_fields import ChatJson
from vlp_server.http.chat_work import ChatWork
from vlp_server.http.door import Door
from vlp_server.http.drawn_items import DrawnItems
from vlp_server.http.event_stream import EVENT_MEDIA_TYPE, EventStream, event
from vlp_server.http.json_body import read_json
from vlp_server.http.openai_schemas import ChatCompletion
from vlp_server.http.openapi import event_content, json_operation, openai_problem_responses

_STREAM_TEXT = (
    "With `stream` each event is a `chat.completion.chunk`, and the last one `[DONE]`. What is refused is refused "
    "before the first event, with its status; where something fails on the way, the last event is the document of the "
    "error."
)
_STREAM_EXAMPLE = (
    'data: {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "name@1", "choices": '
    '[{"index": 0, "delta": {"content": "a red boat"}, "logprobs": null, "finish_reason": null}]}\n\ndata: [DONE]\n\n'
)


def chat_router(door: Door) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["tasks"])

    @router.post(
        "/v1/chat/completions",
        operation_id="chat",
        summary="Ask about a picture, or have it described (OpenAI's shape)",
        openapi_extra=json_operation(ChatJson),
        responses={
            200: {
                "model": ChatCompletion,
                "description": f"Answers, best first. {_STREAM_TEXT}",
                "content": {EVENT_MEDIA_TYPE: event_content(_STREAM_EXAMPLE)},
            },
            **openai_problem_responses(400, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504),
        },
    )
    async def chat(request: Request) -> Response:
        async with AsyncExitStack() as held:
            call = held.enter_context(let_in(door, request))
            fields = await read_json(request, call.body, ChatJson)
            work = ChatWork.of(door, call, await chat_ask(fields))
            if not work.ask.stream:
                completion = await call.wait(work.complete())
                return JSONResponse(ChatDocuments(completion.model, work.ask.turn.unread).whole(completion))
            events = DrawnItems(_events(work))
            held.push_async_callback(events.close)
            # Nothing is sent before something is there to be sent: what is refused keeps its status.
            await call.wait(events.first())
            return EventStream(events, call.context, held.pop_all())

    return router


async def _events(work: ChatWork) -> AsyncGenerator[bytes, None]:
    """The chunks of the answer."""
    documents = ChatDocuments(work.meter.model, work.ask.turn.unread, work.ask.include_usage)
    begun: set[int] = set()
    async with aclosing(work.pieces()) as pieces:
        async for piece in pieces:
            if isinstance(piece, Completion):
                for index in sorted(set(range(len(piece.choices))) - begun):
                    yield event(documents.first(index))
                for chunk in documents.ends(piece):
                    yield event(chunk)
                continue
            index, words = piece
            if index not in begun:
                begun.add(index)
                yield event(documents.first(index))
            yield event(documents.words(index, words))
    yield DONE
