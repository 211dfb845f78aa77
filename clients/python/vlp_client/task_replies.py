"""What a server answers to the calls about one picture, about texts and about its models -> records."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

from vlp_client.records import (
    Answer,
    Classification,
    Embeddings,
    LabelScore,
    Matches,
    ModelInfo,
    QuestionResult,
    TextScore,
    VqaAnswers,
    VqaResults,
)
from vlp_client.replies import Reply
from vlp_client.vectors import read_base64, read_bytes


def read_vqa(reply: Reply) -> VqaAnswers | VqaResults:
    """Read the answers to one question, or to several."""
    body = reply.body
    if "answers" in body:
        return VqaAnswers(body["model"], _answers(body["answers"]), reply.timings_ms)
    results = tuple(QuestionResult(item["question"], _answers(item["answers"])) for item in body["results"])
    return VqaResults(body["model"], results, reply.timings_ms)


def _answers(items: list[dict[str, Any]]) -> tuple[Answer, ...]:
    return tuple(Answer(str(item["answer"]), float(item["score"])) for item in items)


def read_classification(reply: Reply) -> Classification:
    """Read the labels of a picture."""
    body = reply.body
    scores = tuple(LabelScore(str(item["label"]), float(item["score"])) for item in body["scores"])
    return Classification(body["model"], scores, reply.timings_ms)


def read_matches(reply: Reply) -> Matches:
    """Read how well texts fit."""
    body = reply.body
    return Matches(body["model"], tuple(map(_text_score, body["scores"])), reply.timings_ms)


def _text_score(item: Mapping[str, Any]) -> TextScore:
    itc = item.get("itc")
    return TextScore(str(item["text"]), float(item["score"]), float(item["itm"]), None if itc is None else float(itc))


def read_embeddings(reply: Reply) -> Embeddings:
    """Read vectors, in the order of what was embedded."""
    body = reply.body
    ordered = sorted(body["data"], key=lambda item: int(item["index"]))
    vectors = tuple(_vector(item["embedding"]) for item in ordered)
    return Embeddings(body["model"], vectors, reply.timings_ms)


def _vector(value: str | bytes) -> array[float]:
    return read_bytes(value) if isinstance(value, bytes) else read_base64(value)


def read_models(reply: Reply) -> tuple[ModelInfo, ...]:
    """Read what is served."""
    return tuple(map(_model_info, reply.body["data"]))


def _model_info(item: Mapping[str, Any]) -> ModelInfo:
    return ModelInfo(
        id=item["id"],
        name=item["name"],
        version=item["version"],
        family=item["family"],
        tasks=tuple(item["tasks"]),
        precision=item["precision"],
        limits=dict(item["limits"]),
        state=item["state"],
        reason=item["reason"],
        default=item["default"],
    )
