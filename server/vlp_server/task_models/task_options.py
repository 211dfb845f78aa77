"""The options of a task model's requests: a JSON object with further fields, named as in the HTTP API."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError
from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import PLACEHOLDER, Task
from vlp_spec.triton_names import OPTIONS

_MAX_OPTIONS_BYTES = 1024 * 1024
_MAX_NAME = 64


class TaskOptions(BaseModel):
    """Of a task that has none."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class VqaOptions(TaskOptions):
    """Of questions: how many answers to give, and a closed list of them."""

    top_k: int = 5
    answers: list[str] | None = None


class CaptionOptions(TaskOptions):
    """Of a caption, as vlp_spec.tasks.CaptionQuery and Decoding have them; and whether it comes in pieces."""

    max_tokens: int | None = None
    min_tokens: int | None = None
    num_beams: int | None = None
    length_penalty: float | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    num_captions: int = 1
    stream: bool = False


class ClassifyOptions(TaskOptions):
    """Of labels: what is said of each, with {} for it."""

    templates: list[str] = [PLACEHOLDER]


class GroundingOptions(TaskOptions):
    """Of phrases: how many boxes to give."""

    top_k: int = 5


_OPTIONS: dict[Task, type[TaskOptions]] = {
    Task.VQA: VqaOptions,
    Task.CAPTION: CaptionOptions,
    Task.CLASSIFY: ClassifyOptions,
    Task.GROUNDING: GroundingOptions,
}


def read_options(task: Task, text: bytes) -> TaskOptions:
    """The options of a task; its defaults where the text is empty.

    Raises:
        InvalidArgumentError: too long, no JSON, or a field that is unknown or of a wrong type.
    """
    kind = _OPTIONS.get(task, TaskOptions)
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
