"""config.pbtxt: how Triton serves a graph or a task. Text only; protobuf is not needed to write it.

The file belongs to the operator once it is there (instance counts and queue bounds are tuned by hand), so its
digest is not part of a deployment. What must not change under a graph's name is the interface, whose digest stands in
the first line: versions of one graph share one config.pbtxt.

Field names: Triton's model_config.proto.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlp_spec.deployment import check_name
from vlp_spec.errors import ArtifactError
from vlp_spec.repository import PYTHON_MODEL_FILE
from vlp_spec.tensors import TensorSpec

CONFIG_FILE = "config.pbtxt"
GRAPH_FILES = {"onnxruntime": "model.onnx", "tensorrt": "model.plan", "python": PYTHON_MODEL_FILE}
_INSTANCE_KINDS = {"onnxruntime": "KIND_AUTO", "tensorrt": "KIND_GPU", "python": "KIND_AUTO"}
_TYPES = {
    "uint8": "TYPE_UINT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "bool": "TYPE_BOOL",
}
_INTERFACE_MARK = "# interface sha256:"


@dataclass(frozen=True, slots=True)
class BatchingConfig:
    """How Triton batches and how long it keeps a request waiting.

    Attributes:
        max_queue_size: requests that may wait; Triton's own default has no bound.
        queue_timeout_ms: a request that waited longer is refused; a caller may ask for less, not for more.
        max_queue_delay_us: how long a request waits for company; not 0: then Triton's batcher (seen in 2.51) sometimes
            overlooks a request for the half second of its idle wait.
        instances: copies of the graph.
        kept_versions: so many of the newest versions are loaded: the one in use, and one to go back to.
    """

    max_queue_size: int = 256
    queue_timeout_ms: int = 30_000
    max_queue_delay_us: int = 100
    instances: int = 1
    kept_versions: int = 2


@dataclass(frozen=True, slots=True)
class GraphInterface:
    """What a graph takes and gives, and the largest batch; axis 0 of every tensor is the batch."""

    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    max_batch_size: int

    def digest(self) -> str:
        """sha256 of names, dtypes and shapes; equal for graphs that one config.pbtxt can serve."""
        lines = [f"max_batch_size {self.max_batch_size}"]
        for role, specs in (("input", self.inputs), ("output", self.outputs)):
            lines += [f"{role} {spec.name} {spec.dtype} {_dims(spec)}" for spec in specs]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class WarmUpInput:
    """An input of a warm-up request.

    Attributes:
        spec: the graph's input.
        shape: without the batch.
        file: below the graph's folder warmup/: the bytes of one row.
    """

    spec: TensorSpec
    shape: tuple[int, ...]
    file: str


def render_config(
    name: str,
    backend: str,
    interface: GraphInterface,
    batching: BatchingConfig | None = None,
    *,
    warm_up: Sequence[WarmUpInput] = (),
    parameters: Mapping[str, str] | None = None,
) -> str:
    """Write the text of config.pbtxt.

    Args:
        name: the graph's folder; Triton refuses a file whose name differs from its folder's.
        backend: "onnxruntime", "tensorrt" or "python".
        interface: inputs, outputs and largest batch.
        batching: queue bounds; the defaults of BatchingConfig where None.
        warm_up: all inputs of a row that is run, alone and in a batch, before the graph counts as ready.
        parameters: for a Python model.

    Raises:
        ArtifactError: the name is not safe, or the backend is none of the three.
    """
    if backend not in GRAPH_FILES:
        raise ArtifactError(f"backend {backend!r}: expected one of {', '.join(GRAPH_FILES)}")
    batching = batching or BatchingConfig()
    lines = [
        f"{_INTERFACE_MARK}{interface.digest()}",
        f'name: "{check_name(name)}"',
        f'backend: "{backend}"',
        f'default_model_filename: "{GRAPH_FILES[backend]}"',
        f"max_batch_size: {interface.max_batch_size}",
        version_policy(batching),
        *_tensors("input", interface.inputs),
        *_tensors("output", interface.outputs),
        f"instance_group [ {{ count: {batching.instances} kind: {_INSTANCE_KINDS[backend]} }} ]",
        "dynamic_batching {",
        f"  max_queue_delay_microseconds: {batching.max_queue_delay_us}",
        "  priority_levels: 2",
        "  default_priority_level: 1",
        "  default_queue_policy {",
        "    timeout_action: REJECT",
        f"    default_timeout_microseconds: {batching.queue_timeout_ms * 1000}",
        "    allow_timeout_override: true",
        f"    max_queue_size: {batching.max_queue_size}",
        "  }",
        "}",
        *parameter_lines(parameters or {}),
        *_warm_ups(warm_up, interface.max_batch_size),
    ]
    return "\n".join(lines) + "\n"


def version_policy(batching: BatchingConfig) -> str:
    """Which versions are loaded where nobody says otherwise."""
    return f"version_policy: {{ latest: {{ num_versions: {batching.kept_versions} }} }}"


def parameter_lines(parameters: Mapping[str, str]) -> list[str]:
    """What a Python model is told."""
    return [
        f"parameters {{ key: {_quoted(name)} value: {{ string_value: {_quoted(value)} }} }}"
        for name, value in parameters.items()
    ]


def check_same_interface(existing: str, interface: GraphInterface, graph: str) -> None:
    """Check that an existing config.pbtxt can serve one more version with this interface.

    Raises:
        ArtifactError: it was written for other inputs or outputs, or not by this exporter.
    """
    first = existing.split("\n", 1)[0]
    if first != f"{_INTERFACE_MARK}{interface.digest()}":
        raise ArtifactError(
            f"graph {graph}: its config.pbtxt stands for other inputs or outputs than this checkpoint's, and all "
            "versions of a graph share it; export under another name with --name"
        )


def _tensors(role: str, specs: Sequence[TensorSpec]) -> list[str]:
    lines = []
    for spec in specs:
        # Triton takes no tensor without sizes; one number an item is sent as a row of one.
        sizes = f"dims: {_dims(spec)}" if len(spec.shape) > 1 else "dims: [1] reshape: { shape: [] }"
        lines.append(f"{role} [ {{ name: {_quoted(spec.name)} data_type: {_TYPES[spec.dtype]} {sizes} }} ]")
    return lines


def _warm_ups(inputs: Sequence[WarmUpInput], max_batch_size: int) -> list[str]:
    """One request of one row, and one of a small batch where there are batches."""
    if not inputs:
        return []
    lines = []
    for rows in sorted({1, min(8, max_batch_size)}):
        lines += ["model_warmup [ {", f'  name: "{rows} rows"', f"  batch_size: {rows}"]
        for one in inputs:
            dims = list(one.shape) or [1]
            lines.append(
                f"  inputs {{ key: {_quoted(one.spec.name)} value: {{ data_type: {_TYPES[one.spec.dtype]} dims: {dims} "
                f"input_data_file: {_quoted(one.file)} }} }}"
            )
        lines.append("} ]")
    return lines


def _quoted(text: str) -> str:
    """A string of protobuf's text format."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _dims(spec: TensorSpec) -> list[int]:
    """Sizes without the batch; Triton's mark for a dynamic axis is -1."""
    return [dim if isinstance(dim, int) else -1 for dim in spec.shape[1:]]
