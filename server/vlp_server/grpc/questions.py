"""vlp.v1.VisionLanguage, what is asked about pictures in texts."""

from __future__ import annotations

from typing import Any

from vlp_proto.vlp.v1 import content_pb2, vision_language_pb2
from vlp_spec.tasks import (
    EntailmentQuery,
    GroundingQuery,
    MatchQuery,
    ReasoningQuery,
    ScoredBox,
    ScoredLabel,
    VqaQuery,
)

from vlp_server.access.prices import queries_weight
from vlp_server.core.call_checks import check_texts
from vlp_server.grpc.call import Call
from vlp_server.grpc.door import GrpcDoor
from vlp_server.grpc.pictures import read_subject
from vlp_server.grpc.rpc import Method, Unary
from vlp_server.grpc.texts import model_of, queries_of

_pb = vision_language_pb2
DEFAULT_TOP_K = 5


def question_methods(door: GrpcDoor) -> dict[str, Method]:
    """The methods, by name."""
    return {
        "Vqa": Unary(_pb.VqaRequest, lambda call, request: _vqa(door, call, request)),
        "Match": Unary(_pb.MatchRequest, lambda call, request: _match(door, call, request)),
        "Entailment": Unary(_pb.EntailmentRequest, lambda call, request: _entailment(door, call, request)),
        "Reasoning": Unary(_pb.ReasoningRequest, lambda call, request: _reasoning(door, call, request)),
        "Grounding": Unary(_pb.GroundingRequest, lambda call, request: _grounding(door, call, request)),
    }


async def _vqa(door: GrpcDoor, call: Call, request: _pb.VqaRequest) -> _pb.VqaResponse:
    limits = door.config.limits
    check_texts("answers", request.answers, limits.answers, limits.answer_chars)
    candidates = tuple(request.answers) or None
    top_k = _top_k(request)
    queries = queries_of(
        "questions",
        request.questions,
        lambda question: VqaQuery(question, top_k, candidates),
        max_texts=limits.questions,
        max_chars=limits.question_chars,
    )
    model = model_of(request.model)
    call.charge(queries_weight(queries))
    picture = await call.picture(await read_subject(call, request.picture, "picture"))
    reply = call.noted(await door.service.vqa(picture, queries, model=model, deadline=call.deadline))
    results = [
        _pb.VqaResult(
            question=query.question,
            answers=[_pb.Answer(answer=one.answer, score=one.score) for one in result.answers],
        )
        for query, result in zip(queries, reply.results, strict=True)
    ]
    return _pb.VqaResponse(model=reply.model, results=results)


async def _match(door: GrpcDoor, call: Call, request: _pb.MatchRequest) -> _pb.MatchResponse:
    queries = queries_of("texts", request.texts, MatchQuery, **_text_limits(door))
    model = model_of(request.model)
    call.charge(queries_weight(queries))
    picture = await call.picture(await read_subject(call, request.picture, "picture"))
    reply = call.noted(await door.service.match(picture, queries, model=model, deadline=call.deadline))
    scores = [
        _pb.TextScore(
            text=query.text,
            score=result.score,
            itm=result.score if result.itm is None else result.itm,
            itc=result.itc,
        )
        for query, result in zip(queries, reply.results, strict=True)
    ]
    return _pb.MatchResponse(model=reply.model, scores=scores)


async def _entailment(door: GrpcDoor, call: Call, request: _pb.EntailmentRequest) -> _pb.EntailmentResponse:
    queries = queries_of("hypotheses", request.hypotheses, EntailmentQuery, **_text_limits(door))
    model = model_of(request.model)
    call.charge(queries_weight(queries))
    picture = await call.picture(await read_subject(call, request.picture, "picture"))
    reply = call.noted(await door.service.entailment(picture, queries, model=model, deadline=call.deadline))
    results = [
        _pb.EntailmentResult(
            hypothesis=query.hypothesis, label=result.label, scores=[label_score(one) for one in result.scores]
        )
        for query, result in zip(queries, reply.results, strict=True)
    ]
    return _pb.EntailmentResponse(model=reply.model, results=results)


async def _reasoning(door: GrpcDoor, call: Call, request: _pb.ReasoningRequest) -> _pb.ReasoningResponse:
    queries = queries_of("statements", request.statements, ReasoningQuery, **_text_limits(door))
    model = model_of(request.model)
    call.charge(queries_weight(queries, pictures=2))
    sides = [
        await read_subject(call, request.left, "left"),
        await read_subject(call, request.right, "right"),
    ]
    left, right = await call.pictures(sides)
    reply = call.noted(await door.service.reasoning((left, right), queries, model=model, deadline=call.deadline))
    results = [
        _pb.ReasoningResult(statement=query.statement, label=result.label, score=result.score)
        for query, result in zip(queries, reply.results, strict=True)
    ]
    return _pb.ReasoningResponse(model=reply.model, results=results)


async def _grounding(door: GrpcDoor, call: Call, request: _pb.GroundingRequest) -> _pb.GroundingResponse:
    top_k = _top_k(request)
    queries = queries_of("phrases", request.phrases, lambda phrase: GroundingQuery(phrase, top_k), **_text_limits(door))
    model = model_of(request.model)
    call.charge(queries_weight(queries))
    picture = await call.picture(await read_subject(call, request.picture, "picture"))
    reply = call.noted(await door.service.grounding(picture, queries, model=model, deadline=call.deadline))
    results = [
        _pb.GroundingResult(phrase=query.phrase, boxes=[_scored_box(one) for one in result.boxes])
        for query, result in zip(queries, reply.results, strict=True)
    ]
    return _pb.GroundingResponse(model=reply.model, results=results)


def label_score(scored: ScoredLabel) -> content_pb2.LabelScore:
    """The message of a label and its score."""
    return content_pb2.LabelScore(label=scored.label, score=scored.score)


def box_of(corners: Any) -> content_pb2.Box:
    """The message of x0, y0, x1, y1."""
    x0, y0, x1, y1 = corners
    return content_pb2.Box(x0=x0, y0=y0, x1=x1, y1=y1)


def _scored_box(scored: ScoredBox) -> content_pb2.ScoredBox:
    return content_pb2.ScoredBox(box=box_of(scored.box), score=scored.score)


def _top_k(request: _pb.VqaRequest | _pb.GroundingRequest) -> int:
    return request.top_k if request.HasField("top_k") else DEFAULT_TOP_K


def _text_limits(door: GrpcDoor) -> dict[str, int]:
    return {"max_texts": door.config.limits.texts, "max_chars": door.config.limits.text_chars}
