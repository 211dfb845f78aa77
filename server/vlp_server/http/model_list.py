"""GET /v1/models: what is served, in OpenAI's list shape with fields of our own."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path

from vlp_server.core.records import ModelCard
from vlp_server.http.door import Door
from vlp_server.http.openapi import openai_problem_responses
from vlp_server.http.schemas import Model, ModelList, RequestLimits


def models_router(door: Door) -> APIRouter:
    """The route of the list."""
    router = APIRouter(tags=["models"])

    @router.get("/v1/models", operation_id="models", summary="List the served models")
    async def models() -> ModelList:
        return ModelList(data=[_model(card) for card in door.service.models()], request_limits=_limits(door))

    @router.get(
        "/v1/models/{model}",
        operation_id="model",
        summary="Describe a served model",
        responses=openai_problem_responses(404),
    )
    async def model(model: Annotated[str, Path(description="name, name@version or name@alias.")]) -> Model:
        (card,) = door.service.models(model)
        return _model(card)

    return router


def _model(card: ModelCard) -> Model:
    return Model(
        id=card.name if card.version is None else f"{card.name}@{card.version}",
        created=int(datetime.fromisoformat(card.created).timestamp()) if card.created else 0,
        owned_by="vlpserve",
        name=card.name,
        version=card.version,
        family=card.family,
        tasks=[str(task) for task in card.tasks],
        precision=card.precision,
        limits=dict(card.limits),
        state=card.state,
        reason=card.reason,
        default=card.default,
        default_for=[str(task) for task in card.default_for],
    )


def _limits(door: Door) -> RequestLimits:
    config = door.config
    return RequestLimits(
        body_bytes=config.http.body_limit_bytes,
        image_bytes=config.core.max_image_bytes,
        questions=config.limits.questions,
        question_chars=config.limits.question_chars,
        answers=config.limits.answers,
        answer_chars=config.limits.answer_chars,
        labels=config.limits.labels,
        label_chars=config.limits.label_chars,
        templates=config.limits.templates,
        texts=config.limits.texts,
        text_chars=config.limits.text_chars,
        regions=config.limits.regions,
        inputs=config.limits.inputs,
        request_timeout_ms=int(config.http.max_request_timeout_s * 1000),
    )
