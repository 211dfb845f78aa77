"""The service VisionLanguage: calls -> messages, messages -> bodies as the HTTP API has them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from vlp_proto.vlp.v1 import vision_language_pb2 as messages

from vlp_client.calls import Call
from vlp_client.grpc_wire.content import box_of, given, picture_message, subject_messages, vector_of
from vlp_client.grpc_wire.rpc import Rpc, Shape
from vlp_client.server_events import DONE_EVENT

_SERVICE = "/vlp.v1.VisionLanguage"
# What HTTP takes as one text or several, gRPC takes as several.
_SEVERAL = {"question": "questions", "hypothesis": "hypotheses", "statement": "statements", "phrase": "phrases"}
_NOT_SENT = frozenset({"encoding_format"})


def _encoder(message: Any) -> Callable[[Call[Any]], Any]:
    def encode(call: Call[Any]) -> Any:
        (picture,) = subject_messages(call)
        return message(picture=picture, **_fields(call.fields))

    return encode


def _fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    several = {many: [fields[one]] for one, many in _SEVERAL.items() if one in fields}
    return {name: value for name, value in fields.items() if name not in _SEVERAL and name not in _NOT_SENT} | several


def _reasoning_request(call: Call[Any]) -> Any:
    left, right = subject_messages(call)
    return messages.ReasoningRequest(left=left, right=right, **_fields(call.fields))


def _stream_request(call: Call[Any]) -> Any:
    return messages.StreamCaptionRequest(request=_encoder(messages.CaptionRequest)(call))


def _embed_request(call: Call[Any]) -> Any:
    inputs = [
        messages.EmbedInput(text=one) if isinstance(one, str) else messages.EmbedInput(picture=_picture(one))
        for one in call.fields["input"]
    ]
    fields = {name: value for name, value in _fields(call.fields).items() if name != "input"}
    return messages.EmbedRequest(inputs=inputs, **fields)


def _picture(item: Mapping[str, Any]) -> Any:
    return picture_message(item["image"])


def _results(message: Any, call: Call[Any], read: Callable[[Any], dict[str, Any]], one: str) -> dict[str, Any]:
    """One result alone where one text was asked about, else all with their texts."""
    results = [read(result) for result in message.results]
    if one in call.fields:
        (only,) = results
        return {"model": message.model, **only}
    texts = [{one: getattr(result, one)} for result in message.results]
    return {"model": message.model, "results": [text | body for text, body in zip(texts, results, strict=True)]}


def _vqa_body(message: Any, call: Call[Any]) -> Any:
    def read(result: Any) -> dict[str, Any]:
        return {"answers": [{"answer": one.answer, "score": one.score} for one in result.answers]}

    return _results(message, call, read, "question")


def _entailment_body(message: Any, call: Call[Any]) -> Any:
    def read(result: Any) -> dict[str, Any]:
        return {"label": result.label, "scores": {one.label: one.score for one in result.scores}}

    return _results(message, call, read, "hypothesis")


def _reasoning_body(message: Any, call: Call[Any]) -> Any:
    return _results(message, call, lambda result: {"label": result.label, "score": result.score}, "statement")


def _grounding_body(message: Any, call: Call[Any]) -> Any:
    def read(result: Any) -> dict[str, Any]:
        return {"boxes": [{"box": box_of(one.box), "score": one.score} for one in result.boxes]}

    return _results(message, call, read, "phrase")


def _classify_body(message: Any, _: Call[Any]) -> Any:
    return {"model": message.model, "scores": [{"label": one.label, "score": one.score} for one in message.scores]}


def _match_body(message: Any, _: Call[Any]) -> Any:
    scores = [
        {"text": one.text, "score": one.score, "itm": one.itm, "itc": given(one, "itc")} for one in message.scores
    ]
    return {"model": message.model, "scores": scores}


def _caption_body(message: Any, _: Call[Any]) -> Any:
    return {"model": message.model, "captions": [{"text": one.text, "score": one.score} for one in message.captions]}


def _caption_event(message: Any, call: Call[Any]) -> Any:
    if message.WhichOneof("event") == "answer":
        return DONE_EVENT, _caption_body(message.answer, call)
    return "message", {"text": message.text}


def _regions_body(message: Any, call: Call[Any]) -> Any:
    regions = [
        {"box": box_of(one.box), "score": given(one, "score"), "name": one.name, "attribute": one.attribute or None}
        for one in message.regions
    ]
    body = {"model": message.model, "encoder": message.encoder, "regions": regions}
    if call.fields.get("features"):
        body |= {"features": base64.b64encode(message.features).decode(), "feature_size": message.feature_size}
    return body


def _embed_body(message: Any, _: Call[Any]) -> Any:
    data = [{"index": place, "embedding": vector_of(one)} for place, one in enumerate(message.vectors)]
    return {"model": message.model, "data": data}


def _rpc(method: str, encode: Callable[[Call[Any]], Any], decode: Callable[[Any, Call[Any]], Any]) -> Rpc:
    return Rpc(f"{_SERVICE}/{method}", encode, getattr(messages, f"{method}Response"), decode)


TASK_RPCS: Mapping[str, Rpc] = {
    "vqa": _rpc("Vqa", _encoder(messages.VqaRequest), _vqa_body),
    "classify": _rpc("Classify", _encoder(messages.ClassifyRequest), _classify_body),
    "entailment": _rpc("Entailment", _encoder(messages.EntailmentRequest), _entailment_body),
    "caption": _rpc("Caption", _encoder(messages.CaptionRequest), _caption_body),
    "stream_caption": Rpc(
        f"{_SERVICE}/StreamCaption",
        _stream_request,
        messages.StreamCaptionResponse,
        _caption_event,
        Shape.ANSWER_STREAM,
    ),
    "match": _rpc("Match", _encoder(messages.MatchRequest), _match_body),
    "reasoning": _rpc("Reasoning", _reasoning_request, _reasoning_body),
    "grounding": _rpc("Grounding", _encoder(messages.GroundingRequest), _grounding_body),
    "regions": _rpc("Regions", _encoder(messages.RegionsRequest), _regions_body),
    "embed": _rpc("Embed", _embed_request, _embed_body),
}
