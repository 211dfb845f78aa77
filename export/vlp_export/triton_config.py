"""config.pbtxt: how Triton serves a graph. Text only; protobuf is not needed to write it.

The file belongs to the operator once it is there (instance counts and queue bounds are tuned by hand), so its
digest is not part of a deployment. What must not change under a graph's name is the interface, whose digest stands in
the first line: versions of one graph share one config.pbtxt.

Field names: Triton's model_config.proto.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from vlp_spec.deployment import check_name
from vlp_spec.errors import ArtifactError
from vlp_spec.tensors import TensorSpec

CONFIG_FILE = "config.pbtxt"
GRAPH_FILES = {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}
_INSTANCE_KINDS = {"onnxruntime": "KIND_AUTO", "tensorrt": "KIND_GPU"}
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
        max_queue_delay_ms: how long a request waits for company.
        instances: copies of the graph.
    """

    max_queue_size: int = 256
    queue_timeout_ms: int = 30_000
    max_queue_delay_ms: int = 2
    instances: int = 1


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


def render_config(name: str, backend: str, interface: GraphInterface, batching: BatchingConfig | None = None) -> str:
    """Write the text of config.pbtxt.

    Args:
        name: the graph's folder; Triton refuses a file whose name differs from its folder's.
        backend: "onnxruntime" or "tensorrt".
        interface: inputs, outputs and largest batch.
        batching: queue bounds; the defaults of BatchingConfig where None.

    Raises:
        ArtifactError: the name is not safe, or the backend is none of the two.
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
        *_tensors("input", interface.inputs),
        *_tensors("output", interface.outputs),
        f"instance_group [ {{ count: {batching.instances} kind: {_INSTANCE_KINDS[backend]} }} ]",
        "dynamic_batching {",
        f"  max_queue_delay_microseconds: {batching.max_queue_delay_ms * 1000}",
        "  default_queue_policy {",
        "    timeout_action: REJECT",
        f"    default_timeout_microseconds: {batching.queue_timeout_ms * 1000}",
        "    allow_timeout_override: true",
        f"    max_queue_size: {batching.max_queue_size}",
        "  }",
        "}",
    ]
    return "\n".join(lines) + "\n"


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
        lines.append(f'{role} [ {{ name: "{spec.name}" data_type: {_TYPES[spec.dtype]} {sizes} }} ]')
    return lines


def _dims(spec: TensorSpec) -> list[int]:
    """Sizes without the batch; Triton's mark for a dynamic axis is -1."""
    return [dim if isinstance(dim, int) else -1 for dim in spec.shape[1:]]
