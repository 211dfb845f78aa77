"""vlp.v1.VisionLanguage, what a picture shows in words, whole or as they are written."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from vlp_proto.vlp.v1 import vision_language_pb2
from vlp_spec.errors import InternalError
from vlp_spec.tasks import CaptionQuery, Decoding

from vlp_server.access.prices import queries_weight
from vlp_server.core.call_checks import check_text
from vlp_server.core.records import CaptionPiece, CaptionReply
from vlp_server.grpc.call import Call
from vlp_server.grpc.door import GrpcDoor
from vlp_server.grpc.pictures import read_picture
from vlp_server.grpc.rpc import Method, Streamed, Unary
from vlp_server.grpc.texts import model_of

_pb = vision_language_pb2
_OPTIONAL = ("max_tokens", "min_tokens", "num_beams", "length_penalty", "seed")


def caption_methods(door: GrpcDoor) -> dict[str, Method]:
    """The methods, by name."""
    return {
        "Caption": Unary(_pb.CaptionRequest, lambda call, request: _caption(door, call, request)),
        "StreamCaption": Streamed(_pb.StreamCaptionRequest, lambda call, request: _stream(door, call, request.request)),
    }


async def _caption(door: GrpcDoor, call: Call, request: _pb.CaptionRequest) -> _pb.CaptionResponse:
    query, model = _query_of(door, request), model_of(request.model)
    call.charge(queries_weight([query]))
    picture = await call.picture(read_picture(request.picture, "picture"))
    return _response(call.noted(await door.service.caption(picture, query, model=model, deadline=call.deadline)))


async def _stream(door: GrpcDoor, call: Call, request: _pb.CaptionRequest) -> AsyncGenerator[_pb.StreamCaptionResponse]:
    query, model = _query_of(door, request), model_of(request.model)
    call.charge(queries_weight([query]))
    picture = await call.picture(read_picture(request.picture, "picture"))
    reply = None
    stream = door.service.stream_caption(picture, query, model=model, deadline=call.deadline)
    async with aclosing(stream) as items:
        async for item in items:
            if isinstance(item, CaptionPiece):
                yield _pb.StreamCaptionResponse(text=item.text)
            else:
                # Not the end yet: closed here, it would be counted as one that its caller has left.
                reply = item
    if reply is None:
        raise InternalError(detail="a stream of words ended without its answer")
    yield _pb.StreamCaptionResponse(answer=_response(call.noted(reply)))


def _query_of(door: GrpcDoor, request: _pb.CaptionRequest) -> CaptionQuery:
    check_text("prompt", request.prompt, door.config.limits.text_chars)
    decoding = Decoding(
        **{name: getattr(request, name) for name in _OPTIONAL if request.HasField(name)},
        temperature=request.temperature,
        top_p=request.top_p if request.HasField("top_p") else 1.0,
    )
    count = request.num_captions if request.HasField("num_captions") else 1
    return CaptionQuery(request.prompt, count, decoding)


def _response(reply: CaptionReply) -> _pb.CaptionResponse:
    captions = [_pb.ScoredCaption(text=one.text, score=one.score) for one in reply.results[0].captions]
    return _pb.CaptionResponse(model=reply.model, captions=captions)
