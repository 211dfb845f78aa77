"""From the texts and options of a task model to a call of the service, and from its reply to what is sent back."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from vlp_spec.errors import InternalError, InvalidArgumentError
from vlp_spec.tasks import (
    PLACEHOLDER,
    CaptionQuery,
    ClassifyQuery,
    Decoding,
    EntailmentQuery,
    GroundingQuery,
    MatchQuery,
    ReasoningQuery,
    Task,
    VqaQuery,
)
from vlp_spec.triton_names import EMBEDDINGS, FEATURES, IMAGE, OPTIONS, TEXT

from vlp_server.core.records import CaptionPiece, CaptionReply
from vlp_server.core.service import Service
from vlp_server.engines.task_wire import STREAM_OPTION, result_json

_MAX_OPTIONS_BYTES = 1024 * 1024
_MAX_NAME = 64


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _VqaOptions(_Options):
    top_k: int = 5
    answers: list[str] | None = None


class _CaptionOptions(_Options):
    max_tokens: int | None = None
    min_tokens: int | None = None
    num_beams: int | None = None
    length_penalty: float | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    num_captions: int = 1
    stream: bool = False


class _ClassifyOptions(_Options):
    templates: list[str] = [PLACEHOLDER]


class _GroundingOptions(_Options):
    top_k: int = 5


_OPTIONS: dict[Task, type[_Options]] = {
    Task.VQA: _VqaOptions,
    Task.CAPTION: _CaptionOptions,
    Task.CLASSIFY: _ClassifyOptions,
    Task.GROUNDING: _GroundingOptions,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What came with one request, as it was sent.

    Attributes:
        images: encoded pictures.
        texts: see task_wire.
        options: JSON, or nothing.
        deadline: seconds on the service's clock; None: the service's own default.
    """

    images: Sequence[bytes]
    texts: Sequence[str]
    options: bytes = b""
    deadline: float | None = None

    def one_image(self) -> bytes:
        """The picture of a task on one.

        Raises:
            InvalidArgumentError: none, or several.
        """
        if len(self.images) != 1:
            raise InvalidArgumentError(f"{IMAGE}: got {len(self.images)} pictures, expected 1", field=IMAGE)
        return self.images[0]


@dataclass(frozen=True, slots=True)
class Told:
    """What is sent back.

    Attributes:
        answers: the best answer to each text, in words.
        results: JSON.
        arrays: further outputs.
    """

    answers: Sequence[str]
    results: Sequence[bytes]
    arrays: dict[str, NDArray[np.float32]] = field(default_factory=dict)


async def do_task(service: Service, task: Task, model: str, asked: Asked) -> Told:
    """Do a task that answers at once.

    Args:
        model: reference of the model.

    Raises:
        VlpError: as the service's methods; options or a number of pictures that are not as described.
    """
    options: Any = _options(task, asked.options)
    terms: dict[str, Any] = {"model": model, "deadline": asked.deadline}
    match task:
        case Task.EMBEDDINGS:
            return await _embed(service, asked, terms)
        case Task.REGIONS:
            return await _find_regions(service, asked, terms)
        case Task.CLASSIFY:
            query = ClassifyQuery(tuple(asked.texts), tuple(options.templates))
            reply = await service.classify(asked.one_image(), query, **terms)
            return Told([reply.result.scores[0].label], [result_json(reply.result)])
        case Task.CAPTION:
            caption = await service.caption(asked.one_image(), _caption_query(asked, options), **terms)
            return _caption_told(caption)
        case _:
            return await _judge(service, task, asked, options, terms)


async def stream_task(service: Service, model: str, asked: Asked) -> AsyncGenerator[Told]:
    """Write a caption: pieces where they are wanted, and last the whole; errors as `do_task`."""
    options: Any = _options(Task.CAPTION, asked.options)
    if not options.stream:
        yield await do_task(service, Task.CAPTION, model, asked)
        return
    query = _caption_query(asked, options)
    async with aclosing(service.stream_caption(asked.one_image(), query, model=model, deadline=asked.deadline)) as news:
        async for one in news:
            yield Told([one.text], []) if isinstance(one, CaptionPiece) else _caption_told(one, streamed=True)


async def _judge(service: Service, task: Task, asked: Asked, options: Any, terms: dict[str, Any]) -> Told:
    """Tasks with one answer to each text."""
    if not asked.texts:
        raise InvalidArgumentError(f"{TEXT}: missing; give at least one", field=TEXT)
    reply: Any
    match task:
        case Task.VQA:
            candidates = None if options.answers is None else tuple(options.answers)
            queries = [VqaQuery(text, options.top_k, candidates) for text in asked.texts]
            reply = await service.vqa(asked.one_image(), queries, **terms)
            answers = [result.answers[0].answer for result in reply.results]
        case Task.MATCH:
            reply = await service.match(asked.one_image(), [MatchQuery(text) for text in asked.texts], **terms)
            answers = [f"{result.score:.6f}" for result in reply.results]
        case Task.ENTAILMENT:
            judged = [EntailmentQuery(text) for text in asked.texts]
            reply = await service.entailment(asked.one_image(), judged, **terms)
            answers = [result.label for result in reply.results]
        case Task.GROUNDING:
            phrases = [GroundingQuery(text, options.top_k) for text in asked.texts]
            reply = await service.grounding(asked.one_image(), phrases, **terms)
            answers = [json.dumps(result.boxes[0].box) for result in reply.results]
        case Task.REASONING:
            if len(asked.images) != 2:
                raise InvalidArgumentError(f"{IMAGE}: got {len(asked.images)} pictures, expected 2", field=IMAGE)
            statements = [ReasoningQuery(text) for text in asked.texts]
            reply = await service.reasoning((asked.images[0], asked.images[1]), statements, **terms)
            answers = [str(result.label).lower() for result in reply.results]
        case _:
            raise InternalError(detail=f"no way to do {task} on Triton")
    return Told(answers, [result_json(result) for result in reply.results])


async def _embed(service: Service, asked: Asked, terms: dict[str, Any]) -> Told:
    reply = await service.embed([*asked.images, *asked.texts], **terms)
    about = {"model": reply.model, "encoder": reply.encoder, "tokens": reply.tokens}
    return Told([], [json.dumps(about).encode()], {EMBEDDINGS: np.ascontiguousarray(reply.vectors, np.float32)})


async def _find_regions(service: Service, asked: Asked, terms: dict[str, Any]) -> Told:
    reply = await service.regions(asked.one_image(), **terms)
    regions = reply.found.regions
    about = {
        "model": reply.model,
        "encoder": reply.encoder,
        "boxes": regions.boxes.tolist(),
        "scores": None if regions.scores is None else regions.scores.tolist(),
        "names": list(reply.found.names),
        "attributes": list(reply.found.attributes),
    }
    return Told([], [json.dumps(about).encode()], {FEATURES: np.ascontiguousarray(regions.features, np.float32)})


def _caption_query(asked: Asked, options: Any) -> CaptionQuery:
    if len(asked.texts) > 1:
        raise InvalidArgumentError(f"{TEXT}: got {len(asked.texts)}, a caption begins in one way", field=TEXT)
    given = options.model_dump(exclude={"num_captions", STREAM_OPTION})
    return CaptionQuery(asked.texts[0] if asked.texts else "", options.num_captions, Decoding(**given))


def _caption_told(reply: CaptionReply, *, streamed: bool = False) -> Told:
    """Of a streamed caption the words were sent already."""
    (result,) = reply.results
    return Told(["" if streamed else result.captions[0].text], [result_json(result)])


def _options(task: Task, text: bytes) -> _Options:
    kind = _OPTIONS.get(task, _Options)
    if not text:
        return kind()
    if len(text) > _MAX_OPTIONS_BYTES:
        fault = f"{OPTIONS}: {len(text)} bytes, at most {_MAX_OPTIONS_BYTES} are read"
        raise InvalidArgumentError(fault, field=OPTIONS)
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:_MAX_NAME] or OPTIONS  # the name of an unknown one is the caller's
        raise InvalidArgumentError(f"{place}: {first['msg']}", field=place) from error
