"""vlp.v1.VisionLanguage, what is told in numbers: labels, regions and vectors."""

from __future__ import annotations

import asyncio

from vlp_proto.vlp.v1 import content_pb2, vision_language_pb2
from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import PLACEHOLDER, ClassifyQuery

from vlp_server.access.prices import embedding_weight, pictures_weight, queries_weight
from vlp_server.core.call_checks import check_count, check_text, check_texts
from vlp_server.core.embed_flow import Source
from vlp_server.core.fan_out import all_or_first_error
from vlp_server.core.records import EmbedReply, RegionsReply
from vlp_server.grpc.call import Call
from vlp_server.grpc.door import GrpcDoor
from vlp_server.grpc.pictures import read_picture
from vlp_server.grpc.questions import box_of, label_score
from vlp_server.grpc.rpc import Method, Unary
from vlp_server.grpc.texts import model_of
from vlp_server.intake.picture_source import PARALLEL_FETCHES, PictureUrl

_pb = vision_language_pb2
# Numbers of an answer from which on it is written in a thread.
_INLINE_NUMBERS = 16_384


def vector_methods(door: GrpcDoor) -> dict[str, Method]:
    """The methods, by name."""
    return {
        "Classify": Unary(_pb.ClassifyRequest, lambda call, request: _classify(door, call, request)),
        "Regions": Unary(_pb.RegionsRequest, lambda call, request: _regions(door, call, request)),
        "Embed": Unary(_pb.EmbedRequest, lambda call, request: _embed(door, call, request)),
    }


async def _classify(door: GrpcDoor, call: Call, request: _pb.ClassifyRequest) -> _pb.ClassifyResponse:
    limits = door.config.limits
    check_texts("labels", request.labels, limits.labels, limits.label_chars)
    check_texts("templates", request.templates, limits.templates, limits.text_chars)
    query = ClassifyQuery(tuple(request.labels), tuple(request.templates) or (PLACEHOLDER,))
    model = model_of(request.model)
    call.charge(queries_weight([query]))
    picture = await call.picture(read_picture(request.picture, "picture"))
    reply = call.noted(await door.service.classify(picture, query, model=model, deadline=call.deadline))
    return _pb.ClassifyResponse(model=reply.model, scores=[label_score(one) for one in reply.result.scores])


async def _regions(door: GrpcDoor, call: Call, request: _pb.RegionsRequest) -> bytes:
    model = model_of(request.model)
    call.charge(pictures_weight(1))
    picture = await call.picture(read_picture(request.picture, "picture"))
    reply = call.noted(await door.service.regions(picture, model=model, deadline=call.deadline))
    body = await asyncio.to_thread(_regions_body, reply, request.features)
    call.take(len(body))
    return body


def _regions_body(reply: RegionsReply, with_features: bool) -> bytes:
    found, regions = reply.found, reply.found.regions
    scores = [None] * len(regions) if regions.scores is None else regions.scores.tolist()
    rows = zip(regions.boxes.tolist(), scores, found.names, found.attributes, strict=True)
    response = _pb.RegionsResponse(
        model=reply.model,
        encoder=reply.encoder,
        regions=[
            _pb.FoundRegion(box=box_of(box), score=score, name=name, attribute=attribute or "")
            for box, score, name, attribute in rows
        ],
        features=regions.features.astype("<f4").tobytes() if with_features else b"",
        feature_size=regions.features.shape[1] if with_features else 0,
    )
    return bytes(response.SerializeToString())


async def _embed(door: GrpcDoor, call: Call, request: _pb.EmbedRequest) -> bytes:
    if not request.inputs:
        raise InvalidArgumentError("inputs: an empty list; give at least one text or picture", field="inputs")
    check_count("inputs", len(request.inputs), door.config.limits.inputs)
    model = model_of(request.model)
    sources = [_source(one, f"inputs[{index}]", door) for index, one in enumerate(request.inputs)]

    texts = [source for source in sources if isinstance(source, str)]
    call.charge(embedding_weight(texts, len(sources) - len(texts)))

    async def fetch(source: Source | PictureUrl) -> Source:
        return source if isinstance(source, str) else await call.picture(source)

    items = await all_or_first_error(sources, fetch, PARALLEL_FETCHES)
    dimensions = request.dimensions if request.HasField("dimensions") else None
    reply = call.noted(await door.service.embed(items, dimensions=dimensions, model=model, deadline=call.deadline))
    inline = reply.vectors.size <= _INLINE_NUMBERS
    body = _vectors_body(reply) if inline else await asyncio.to_thread(_vectors_body, reply)
    call.take(len(body))
    return body


def _source(one: _pb.EmbedInput, place: str, door: GrpcDoor) -> Source | PictureUrl:
    kind = one.WhichOneof("input")
    if kind == "picture":
        return read_picture(one.picture, f"{place}.picture")
    if kind is None or not one.text.strip():
        raise InvalidArgumentError(f"{place}: expected a text or a picture, and no empty text", field=place)
    check_text(place, one.text, door.config.limits.text_chars)
    return one.text


def _vectors_body(reply: EmbedReply) -> bytes:
    response = _pb.EmbedResponse(
        model=reply.model,
        encoder=reply.encoder,
        vectors=[content_pb2.Vector(values=row) for row in reply.vectors.tolist()],
        tokens=reply.tokens,
    )
    return bytes(response.SerializeToString())
