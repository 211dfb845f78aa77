"""config.pbtxt of a task: the model that takes a picture and words, and asks the graphs itself."""

from __future__ import annotations

from collections.abc import Mapping

from vlp_spec.tasks import Task
from vlp_spec.triton_names import ANSWER, EMBEDDINGS, FEATURES, IMAGE, OPTIONS, RESULT, TEXT, task_model_name

from vlp_export.triton_config import GRAPH_FILES, BatchingConfig, parameter_lines, version_policy

_BYTES = "TYPE_STRING"
_ANSWERS = [(ANSWER, _BYTES, [-1]), (RESULT, _BYTES, [-1])]
_OUTPUTS: Mapping[Task, list[tuple[str, str, list[int]]]] = {
    Task.EMBEDDINGS: [(EMBEDDINGS, "TYPE_FP32", [-1, -1]), (RESULT, _BYTES, [-1])],
    Task.REGIONS: [(FEATURES, "TYPE_FP32", [-1, -1]), (RESULT, _BYTES, [-1])],
}
# What comes in pieces.
_DECOUPLED = (Task.CAPTION,)


def render_task_config(deployment: str, task: Task, batching: BatchingConfig | None = None, *, threads: int = 0) -> str:
    """Write the text of config.pbtxt.

    There is no queue to bound and nothing to batch here: the model takes every request at once, the service in it
    bounds what is inside, and the graphs that it asks have their own queues. Nor can it be warmed up by requests,
    which may ask its graphs before Triton has loaded them: it proves them itself before it answers. Triton's response
    cache is left out: it keeps the error of a task, and gives it again as a success without outputs (seen in 2.51).

    Args:
        threads: inside one operator of what runs in the model's own process, a decoder; 0 = every CPU.
    """
    name = task_model_name(deployment, task)
    needs_image = task is not Task.EMBEDDINGS
    needs_text = task not in (Task.CAPTION, Task.EMBEDDINGS, Task.REGIONS)
    lines = [
        f'name: "{name}"',
        'backend: "python"',
        f'default_model_filename: "{GRAPH_FILES["python"]}"',
        "max_batch_size: 0",
        version_policy(batching or BatchingConfig()),
        _tensor("input", IMAGE, _BYTES, [-1], optional=not needs_image),
    ]
    if task is not Task.REGIONS:
        lines.append(_tensor("input", TEXT, _BYTES, [-1], optional=not needs_text))
    lines.append(_tensor("input", OPTIONS, _BYTES, [1], optional=True))
    lines += [_tensor("output", *output) for output in _OUTPUTS.get(task, _ANSWERS)]
    lines.append("instance_group [ { count: 1 kind: KIND_CPU } ]")
    if task in _DECOUPLED:
        lines.append("model_transaction_policy { decoupled: true }")
    lines += parameter_lines({"deployment": deployment, "task": str(task), "threads": str(threads)})
    return "\n".join(lines) + "\n"


def _tensor(role: str, name: str, kind: str, dims: list[int], *, optional: bool = False) -> str:
    ending = " optional: true" if optional else ""
    return f'{role} [ {{ name: "{name}" data_type: {kind} dims: {dims}{ending} }} ]'
