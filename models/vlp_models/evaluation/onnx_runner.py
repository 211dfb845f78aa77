"""Running an exported graph on the CPU with onnxruntime: for its proof, and to measure what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from vlp_spec.errors import ArtifactError

Runner = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""Graph inputs, batch first -> outputs by name."""

_QUIET = 3


def onnx_runner(path: Path, threads: int = 0) -> Runner:
    """Load a graph.

    Args:
        path: model.onnx.
        threads: of one run; 0 leaves it to onnxruntime.

    Raises:
        ArtifactError: onnxruntime cannot load it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _QUIET
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # onnxruntime has no common base of its errors.
    except Exception as error:
        raise ArtifactError(f"graph {path}: onnxruntime cannot load it ({error!s:.200})") from error
    names = [output.name for output in session.get_outputs()]

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return run
