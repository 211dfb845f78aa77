"""The embedded engine: onnxruntime on CPU, CUDA or TensorRT. It trusts no graph that differs from its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from vlp_spec.errors import ArtifactError, ConfigError, InternalError
from vlp_spec.tensors import TensorSpec

from vlp_server.engines.base import Feeds, LoadedGraph, Outputs
from vlp_server.engines.onnx_installation import check_installation
from vlp_server.engines.onnx_memory import check_fits
from vlp_server.engines.settings import EngineSettings
from vlp_server.machine import usable_cpus

MODEL_FILE = "model.onnx"
_ERRORS_ONLY = 3
_TYPES = {
    "uint8": "tensor(uint8)",
    "int32": "tensor(int32)",
    "int64": "tensor(int64)",
    "float16": "tensor(float16)",
    "float32": "tensor(float)",
    "bool": "tensor(bool)",
}


class OnnxEngine:
    """Runs graphs of backend "onnxruntime".

    Raises:
        ConfigError: see `check_installation`.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._providers = check_installation(settings.providers)
        self._sessions: dict[str, Any] = {}
        self._outputs: dict[str, list[str]] = {}
        self._needed_bytes: dict[str, int] = {}

    def load(self, graph: LoadedGraph) -> None:
        """See Engine."""
        path = graph.directory / MODEL_FILE
        if graph.ref.backend != "onnxruntime":
            raise ArtifactError(
                f"graph {graph.ref.name!r}: made for backend {graph.ref.backend!r}, the engine onnx runs onnxruntime"
            )
        if not path.is_file():
            raise ArtifactError(f"graph {graph.ref.name!r}: {MODEL_FILE} is missing in its version folder")
        others = sum(needed for key, needed in self._needed_bytes.items() if key != graph.key)
        needed = check_fits(graph.directory, graph.ref.name, self._settings.memory_limit_bytes, others)
        session = self._open(path, graph.ref.name)
        _check_tensors(graph.ref.name, "input", graph.ref.inputs, session.get_inputs())
        _check_tensors(graph.ref.name, "output", graph.ref.outputs, session.get_outputs())
        self._outputs[graph.key] = [spec.name for spec in graph.ref.outputs]
        self._needed_bytes[graph.key] = needed
        self._sessions[graph.key] = session

    def run(self, key: str, feeds: Feeds) -> Outputs:
        """See Engine."""
        session = self._sessions.get(key)
        if session is None:
            raise InternalError(detail=f"onnx engine: no graph {key!r} is loaded")
        names = self._outputs[key]
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    def unload(self, key: str) -> None:
        """See Engine."""
        self._sessions.pop(key, None)
        self._needed_bytes.pop(key, None)

    def ready(self, key: str) -> bool:
        """See Engine."""
        return key in self._sessions

    def close(self) -> None:
        """See Engine."""
        self._sessions.clear()
        self._needed_bytes.clear()

    def _open(self, path: Path, name: str) -> Any:
        options = build_session_options(self._settings)
        device = {"device_id": str(self._settings.device_id)}
        providers = [(p, {} if p == "CPUExecutionProvider" else device) for p in self._providers]
        try:
            session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=providers)
        except Exception as error:  # onnxruntime has no base class of its own
            reason = _first_line(error)
            raise ArtifactError(f"graph {name!r}: onnxruntime cannot load {MODEL_FILE}: {reason}") from error
        started_on = session.get_providers()[0]
        if started_on != self._providers[0]:
            # onnxruntime falls back to the CPU with no more than a line in its log.
            raise ConfigError(
                [
                    f"engine onnx: asked for {self._providers[0]}, onnxruntime started on {started_on}; "
                    "check the driver and the CUDA libraries, or configure providers = ['cpu']"
                ]
            )
        return session


def build_session_options(settings: EngineSettings) -> Any:
    """Session options for a server that shares its cores with an event loop and decoding threads.

    - One operator at a time (sequential), `threads` wide: VLP graphs are chains, parallel branches gain nothing.
    - No memory pattern: it plans for one shape, is computed anew and kept for every new one, and here every batch may
      have another shape.
    - The arena is bounded by the largest batch, which the batcher bounds; switch `memory_arena` off to give memory
      back after each batch, at the price of page faults.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads or usable_cpus()
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = settings.memory_arena
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if settings.spinning else "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _check_tensors(graph: str, side: str, specs: Sequence[TensorSpec], found: Sequence[Any]) -> None:
    """Compare a session's inputs or outputs with the manifest's.

    Raises:
        ArtifactError: other names, types, ranks, or another fixed size.
    """
    by_name = {tensor.name: tensor for tensor in found}
    if set(by_name) != {spec.name for spec in specs}:
        raise ArtifactError(
            f"graph {graph!r}: has {side}s {sorted(by_name)}, its manifest says {sorted(spec.name for spec in specs)}"
        )
    for spec in specs:
        tensor = by_name[spec.name]
        if tensor.type != _TYPES[spec.dtype]:
            raise ArtifactError(
                f"graph {graph!r}: {side} {spec.name!r} is {tensor.type}, its manifest says {spec.dtype}"
            )
        if len(tensor.shape) != len(spec.shape) or not all(
            _sizes_agree(wanted, got, side) for wanted, got in zip(spec.shape, tensor.shape, strict=True)
        ):
            raise ArtifactError(
                f"graph {graph!r}: {side} {spec.name!r} has shape {list(tensor.shape)}, its manifest says "
                f"{list(spec.shape)}"
            )


def _sizes_agree(wanted: int | str, got: int | str | None, side: str) -> bool:
    """An axis by name must be dynamic in the graph; onnxruntime may know less of an output's fixed sizes than we."""
    if isinstance(wanted, int):
        return got == wanted or (side == "output" and not isinstance(got, int))
    return not isinstance(got, int)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
