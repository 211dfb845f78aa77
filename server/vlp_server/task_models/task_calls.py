"""From the texts and options of a task model to a call of the service, and from its reply to what is sent back."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import numpy as np
from vlp_spec.errors import InternalError, InvalidArgumentError
from vlp_spec.tasks import Task
from vlp_spec.triton_names import EMBEDDINGS, FEATURES, IMAGE

from vlp_server.config.settings import LimitsConfig
from vlp_server.core.records import CaptionPiece, CaptionReply
from vlp_server.core.service import Service
from vlp_server.engines.task_wire import result_json
from vlp_server.task_models.task_queries import checked_options, task_queries
from vlp_server.task_models.task_records import TaskReply, TaskRequest


async def do_task(service: Service, task: Task, model: str, request: TaskRequest, limits: LimitsConfig) -> TaskReply:
    """Do a task that answers at once.

    Args:
        model: reference of the model.
        limits: what one request may ask, as of the HTTP API.

    Raises:
        VlpError: as the service's methods; options or a number of pictures that are not as described, or too many.
    """
    options = checked_options(task, request, limits)
    terms = _terms(model, request)
    match task:
        case Task.EMBEDDINGS:
            return await _embed(service, request, terms)
        case Task.REGIONS:
            return await _find_regions(service, request, terms)
        case Task.CLASSIFY:
            (query,) = task_queries(task, request, options)
            reply = await service.classify(request.one_image(), query, **terms)
            return TaskReply([reply.result.scores[0].label], [result_json(reply.result)])
        case Task.CAPTION:
            (query,) = task_queries(task, request, options)
            caption = await service.caption(request.one_image(), query, **terms)
            return _caption_reply(caption)
        case _:
            return await _judge(service, task, request, options, terms)


async def stream_task(
    service: Service, model: str, request: TaskRequest, limits: LimitsConfig
) -> AsyncGenerator[TaskReply]:
    """Write a caption: pieces where they are wanted, and last the whole; errors as `do_task`."""
    options = checked_options(Task.CAPTION, request, limits)
    if not options.stream:
        yield await do_task(service, Task.CAPTION, model, request, limits)
        return
    (query,) = task_queries(Task.CAPTION, request, options)
    async with aclosing(service.stream_caption(request.one_image(), query, **_terms(model, request))) as news:
        async for one in news:
            yield TaskReply([one.text], []) if isinstance(one, CaptionPiece) else _caption_reply(one, streamed=True)


def _terms(model: str, request: TaskRequest) -> dict[str, Any]:
    return {"model": model, "deadline": request.deadline, "lane": request.lane}


async def _judge(service: Service, task: Task, request: TaskRequest, options: Any, terms: dict[str, Any]) -> TaskReply:
    """Tasks with one answer to each text."""
    queries = task_queries(task, request, options)
    reply: Any
    match task:
        case Task.VQA:
            reply = await service.vqa(request.one_image(), queries, **terms)
            answers = [result.answers[0].answer for result in reply.results]
        case Task.MATCH:
            reply = await service.match(request.one_image(), queries, **terms)
            answers = [f"{result.score:.6f}" for result in reply.results]
        case Task.ENTAILMENT:
            reply = await service.entailment(request.one_image(), queries, **terms)
            answers = [result.label for result in reply.results]
        case Task.GROUNDING:
            reply = await service.grounding(request.one_image(), queries, **terms)
            answers = [json.dumps(result.boxes[0].box) for result in reply.results]
        case Task.REASONING:
            if len(request.images) != 2:
                raise InvalidArgumentError(f"{IMAGE}: got {len(request.images)} pictures, expected 2", field=IMAGE)
            reply = await service.reasoning((request.images[0], request.images[1]), queries, **terms)
            answers = [str(result.label).lower() for result in reply.results]
        case _:
            raise InternalError(detail=f"no way to do {task} on Triton")
    return TaskReply(answers, [result_json(result) for result in reply.results])


async def _embed(service: Service, request: TaskRequest, terms: dict[str, Any]) -> TaskReply:
    reply = await service.embed([*request.images, *request.texts], **terms)
    about = {"model": reply.model, "encoder": reply.encoder, "tokens": reply.tokens}
    return TaskReply([], [json.dumps(about).encode()], {EMBEDDINGS: np.ascontiguousarray(reply.vectors, np.float32)})


async def _find_regions(service: Service, request: TaskRequest, terms: dict[str, Any]) -> TaskReply:
    reply = await service.regions(request.one_image(), **terms)
    regions = reply.found.regions
    about = {
        "model": reply.model,
        "encoder": reply.encoder,
        "boxes": regions.boxes.tolist(),
        "scores": None if regions.scores is None else regions.scores.tolist(),
        "names": list(reply.found.names),
        "attributes": list(reply.found.attributes),
    }
    return TaskReply([], [json.dumps(about).encode()], {FEATURES: np.ascontiguousarray(regions.features, np.float32)})


def _caption_reply(reply: CaptionReply, *, streamed: bool = False) -> TaskReply:
    """Of a streamed caption the words were sent already."""
    (result,) = reply.results
    return TaskReply(["" if streamed else result.captions[0].text], [result_json(result)])
