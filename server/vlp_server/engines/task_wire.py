"""Whole tasks on the wire: names of tensors, options and results in JSON, and errors as a status and a message.

Both ends are ours: the task models that Triton hosts, and the triton engine. A plain Triton client sends the same. The
names are in vlp_spec.triton_names.

| tensor | type | shape | |
|---|---|---|---|
| image | BYTES | [pictures] | encoded pictures; two, left and right, for reasoning |
| text | BYTES | [texts] | questions, hypotheses, statements, phrases, labels; for captions how they begin |
| options | BYTES | [1] | a JSON object with further fields, named as in the HTTP API |
| answer | BYTES | [texts] | the best answer to each text, in words; of a streamed caption the next piece |
| result | BYTES | [texts] | everything that is known of it, in JSON |
| embeddings | FP32 | [items, dimension] | of embeddings: the vectors, pictures first |
| features | FP32 | [regions, size] | of regions: their features |
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError
from vlp_spec.errors import (
    CapacityError,
    DeadlineError,
    ErrorKind,
    InferenceError,
    InternalError,
    InvalidArgumentError,
    InvalidImageError,
    ModelNotFoundError,
    NoExtractorError,
    OverloadedError,
    RequestError,
    TaskNotSupportedError,
    TooLargeError,
    UnavailableError,
    VlpError,
)
from vlp_spec.tasks import (
    CaptionQuery,
    CaptionResult,
    ClassifyResult,
    EntailmentResult,
    GroundingQuery,
    GroundingResult,
    MatchResult,
    ReasoningResult,
    Task,
    VqaQuery,
    VqaResult,
)

STREAM_OPTION = "stream"

_RESULTS: Mapping[Task, type[Any]] = {
    Task.VQA: VqaResult,
    Task.CAPTION: CaptionResult,
    Task.CLASSIFY: ClassifyResult,
    Task.MATCH: MatchResult,
    Task.ENTAILMENT: EntailmentResult,
    Task.REASONING: ReasoningResult,
    Task.GROUNDING: GroundingResult,
}
_REQUEST_ERRORS: tuple[type[RequestError], ...] = (
    InvalidImageError,
    TooLargeError,
    ModelNotFoundError,
    TaskNotSupportedError,
    NoExtractorError,
)
_FIELD = r"[\w.\[\]-]{1,64}"
_FAULT = re.compile(rf"(?P<kind>{'|'.join(ErrorKind)})(\((?P<field>{_FIELD})\))?: ")
# gRPC carries a message in a header, three bytes for one that is not ASCII; clients take headers of 8 KiB.
_MAX_MESSAGE_BYTES = 2048
_CAPACITY_ERRORS: tuple[type[CapacityError], ...] = (OverloadedError, UnavailableError, DeadlineError)


def result_json(result: Any) -> bytes:
    """A result record as JSON."""
    return json.dumps(asdict(result), ensure_ascii=False).encode()


def parse_result(task: Task, data: bytes) -> Any:
    """The record of a task that `result_json` wrote.

    Raises:
        InternalError: it is none.
    """
    try:
        return _reader(task).validate_json(data)
    except ValidationError as error:
        raise InternalError(detail=f"a result of {task} that is none: {error}") from error


@functools.cache
def _reader(task: Task) -> TypeAdapter[Any]:
    """Made when it is first wanted: making one takes longer than reading with it."""
    return TypeAdapter(_RESULTS[task])


def options_of(queries: list[Any]) -> dict[str, Any]:
    """What of queries goes into `options`; queries of one call differ in their texts alone."""
    first = queries[0]
    if isinstance(first, VqaQuery):
        return {"top_k": first.top_k, **({} if first.candidates is None else {"answers": list(first.candidates)})}
    if isinstance(first, GroundingQuery):
        return {"top_k": first.top_k}
    if isinstance(first, CaptionQuery):
        given = {name: value for name, value in asdict(first.decoding).items() if value is not None}
        return {**given, "num_captions": first.num_captions}
    return {}


def fault_text(error: VlpError) -> str:
    """An error as the message of a Triton error: kind, field where there is one that has a plain name, and words."""
    field = getattr(error, "field", None)
    named = f"({field})" if field and re.fullmatch(_FIELD, field) else ""
    message = error.message.encode(errors="replace")[:_MAX_MESSAGE_BYTES].decode(errors="ignore")
    return f"{error.kind}{named}: {message}"


def fault_from(text: str) -> VlpError | None:
    """The error that `fault_text` wrote; None where it is another's message."""
    found = _FAULT.match(text)
    if found is None:
        return None
    return _error(ErrorKind(found["kind"]), text[found.end() :], found["field"])


def _error(kind: ErrorKind, message: str, field: str | None) -> VlpError:
    if kind is ErrorKind.INVALID_ARGUMENT:
        return InvalidArgumentError(message, field=field)
    if kind is ErrorKind.INFERENCE_FAILED:
        return InferenceError(message)
    for request_error in _REQUEST_ERRORS:
        if request_error.kind is kind:
            return request_error(message)
    for capacity_error in _CAPACITY_ERRORS:
        if capacity_error.kind is kind:
            return capacity_error(message)
    return InternalError(detail=f"{kind}: {message}")
