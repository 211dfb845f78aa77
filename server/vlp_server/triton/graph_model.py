"""A graph in Triton's Python backend, for servers that have no onnxruntime backend: one session, batches by Triton."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from vlp_spec.errors import InferenceError, VlpError
from vlp_spec.found_deployment import find_deployment

from vlp_server.core.bisection import RowOutputs, run_bisecting
from vlp_server.engines.base import LoadedGraph, Outputs
from vlp_server.engines.onnx import OnnxEngine
from vlp_server.engines.settings import EngineSettings
from vlp_server.engines.task_wire import fault_text
from vlp_server.triton.parameters import parameters_of, repository_of

logger = logging.getLogger(__name__)


class GraphModel:
    """One instance of a graph. Its parameters: deployment, role, threads.

    Args:
        backend: the module triton_python_backend_utils.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph, as the embedded engine does. Raises ArtifactError when it is not what its manifest says."""
        given = parameters_of(args)
        found = find_deployment(repository_of(args), f"{given['deployment']}@{args['model_version']}")
        self._ref = found.deployment.graph(given["role"])
        on_gpu = args["model_instance_kind"] == "GPU"
        self._engine = OnnxEngine(
            EngineSettings(
                providers=("cuda", "cpu") if on_gpu else ("cpu",),
                device_id=int(args["model_instance_device_id"]) if on_gpu else 0,
                threads=int(given.get("threads", "0")),
            )
        )
        directory = Path(args["model_repository"]) / args["model_version"]
        self._engine.load(LoadedGraph(self._ref.role, self._ref, directory, found.deployment.axes))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Run the rows of all requests together; a row that makes the graph fail fails its own request alone."""
        feeds = [
            {
                spec.name: self._backend.get_input_tensor_by_name(request, spec.name).as_numpy()
                for spec in self._ref.inputs
            }
            for request in requests
        ]
        sizes = [len(next(iter(one.values()))) for one in feeds]
        rows = [
            {name: array[row : row + 1] for name, array in one.items()}
            for one, size in zip(feeds, sizes, strict=True)
            for row in range(size)
        ]
        try:
            outcomes = run_bisecting(rows, self._run)
        except VlpError as error:
            return [self._failed(error) for _ in requests]
        responses, start = [], 0
        for size in sizes:
            responses.append(self._response(outcomes[start : start + size]))
            start += size
        return responses

    def finalize(self) -> None:
        """Free the session."""
        self._engine.close()

    def _run(self, rows: Sequence[dict[str, np.ndarray]]) -> Outputs:
        joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        # An axis of one number an item comes as a row of one: Triton takes no tensor without sizes.
        ranks = {spec.name: len(spec.shape) for spec in self._ref.inputs}
        return self._engine.run(
            self._ref.role, {name: array.reshape(array.shape[: ranks[name]]) for name, array in joined.items()}
        )

    def _response(self, outcomes: Sequence[RowOutputs | InferenceError]) -> Any:
        for outcome in outcomes:
            if isinstance(outcome, InferenceError):
                return self._failed(outcome)
        tensors = []
        for spec in self._ref.outputs:
            array = np.stack([outcome[spec.name] for outcome in outcomes if not isinstance(outcome, InferenceError)])
            tensors.append(self._backend.Tensor(spec.name, np.ascontiguousarray(array)))
        return self._backend.InferenceResponse(output_tensors=tensors)

    def _failed(self, error: VlpError) -> Any:
        logger.warning("%s (%s)", error.message, error.detail)
        code = self._backend.TritonError.INTERNAL
        return self._backend.InferenceResponse(error=self._backend.TritonError(fault_text(error), code))
