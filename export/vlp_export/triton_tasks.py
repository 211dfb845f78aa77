"""config.pbtxt of a task: the model that takes a picture and words, and asks the graphs itself."""

from __future__ import annotations

from collections.abc import Mapping

from vlp_spec.deployment import check_name
from vlp_spec.tasks import Task

from vlp_export.triton_config import BatchingConfig, parameter_lines, version_policy

_BYTES = "TYPE_STRING"
_ANSWERS = [("answer", _BYTES, [-1]), ("result", _BYTES, [-1])]
_OUTPUTS: Mapping[Task, list[tuple[str, str, list[int]]]] = {
    Task.EMBEDDINGS: [("embeddings", "TYPE_FP32", [-1, -1]), ("result", _BYTES, [-1])],
    Task.REGIONS: [("features", "TYPE_FP32", [-1, -1]), ("result", _BYTES, [-1])],
}
# A text that is drawn by chance is another one each time, and what is streamed is not kept.
_NOT_KEPT = (Task.CAPTION,)


def task_model_name(deployment: str, task: Task) -> str:
    """What Triton calls the model of a task."""
    return check_name(f"{deployment}.{task}")


def render_task_config(deployment: str, task: Task, batching: BatchingConfig | None = None) -> str:
    """Write the text of config.pbtxt.

    There is no queue to bound and nothing to batch here: the model takes every request at once, the service in it
    bounds what is inside, and the graphs that it asks have their own queues. Nor can it be warmed up by requests,
    which may ask its graphs before Triton has loaded them: it proves them itself before it answers.
    """
    name = task_model_name(deployment, task)
    needs_image = task is not Task.EMBEDDINGS
    needs_text = task not in (Task.CAPTION, Task.EMBEDDINGS, Task.REGIONS)
    lines = [
        f'name: "{name}"',
        'backend: "python"',
        'default_model_filename: "model.py"',
        "max_batch_size: 0",
        version_policy(batching or BatchingConfig()),
        _tensor("input", "image", _BYTES, [-1], optional=not needs_image),
    ]
    if task is not Task.REGIONS:
        lines.append(_tensor("input", "text", _BYTES, [-1], optional=not needs_text))
    lines.append(_tensor("input", "options", _BYTES, [1], optional=True))
    lines += [_tensor("output", *output) for output in _OUTPUTS.get(task, _ANSWERS)]
    lines.append("instance_group [ { count: 1 kind: KIND_CPU } ]")
    if task in _NOT_KEPT:
        lines.append("model_transaction_policy { decoupled: true }")
    else:
        lines.append("response_cache { enable: true }")
    lines += parameter_lines({"deployment": deployment, "task": str(task)})
    return "\n".join(lines) + "\n"


def _tensor(role: str, name: str, kind: str, dims: list[int], *, optional: bool = False) -> str:
    ending = " optional: true" if optional else ""
    return f'{role} [ {{ name: "{name}" data_type: {kind} dims: {dims}{ending} }} ]'
