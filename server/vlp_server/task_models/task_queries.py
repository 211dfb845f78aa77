"""What a request to a task model asks, as the service has it: to be priced, and to be answered."""

from __future__ import annotations

from typing import Any

from vlp_spec.errors import InternalError, InvalidArgumentError
from vlp_spec.tasks import (
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
from vlp_spec.triton_names import TEXT

from vlp_server.config.settings import LimitsConfig
from vlp_server.engines.task_wire import STREAM_OPTION
from vlp_server.task_models.task_limits import check_limits
from vlp_server.task_models.task_options import read_options
from vlp_server.task_models.task_records import TaskRequest


def checked_options(task: Task, request: TaskRequest, limits: LimitsConfig) -> Any:
    """The options of a request that is within the limits.

    Raises:
        InvalidArgumentError, TooLargeError: as `read_options` and `check_limits`.
    """
    options = read_options(task, request.options)
    check_limits(task, request, options, limits)
    return options


def task_queries(task: Task, request: TaskRequest, options: Any) -> list[Any]:
    """The queries of a task about a picture, or about two: of one kind, one for each text where it judges texts.

    Args:
        options: see `checked_options`.

    Raises:
        InvalidArgumentError: no text, a text too many, or numbers that no query has.
    """
    match task:
        case Task.CAPTION:
            return [_caption_query(request, options)]
        case Task.CLASSIFY:
            return [ClassifyQuery(tuple(request.texts), tuple(options.templates))]
    if not request.texts:
        raise InvalidArgumentError(f"{TEXT}: missing; give at least one", field=TEXT)
    match task:
        case Task.VQA:
            candidates = None if options.answers is None else tuple(options.answers)
            return [VqaQuery(text, options.top_k, candidates) for text in request.texts]
        case Task.MATCH:
            return [MatchQuery(text) for text in request.texts]
        case Task.ENTAILMENT:
            return [EntailmentQuery(text) for text in request.texts]
        case Task.GROUNDING:
            return [GroundingQuery(text, options.top_k) for text in request.texts]
        case Task.REASONING:
            return [ReasoningQuery(text) for text in request.texts]
    raise InternalError(detail=f"{task} asks nothing in words")


def _caption_query(request: TaskRequest, options: Any) -> CaptionQuery:
    if len(request.texts) > 1:
        raise InvalidArgumentError(f"{TEXT}: got {len(request.texts)}, a caption begins in one way", field=TEXT)
    given = options.model_dump(exclude={"num_captions", STREAM_OPTION})
    return CaptionQuery(request.texts[0] if request.texts else "", options.num_captions, Decoding(**given))
