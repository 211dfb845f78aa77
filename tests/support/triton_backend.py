"""A stand-in for triton_python_backend_utils, the module that a Python model finds inside Triton alone.

Names and arguments are those of the real one (triton-inference-server/python_backend, README); other graphs of the same
server are functions of the test's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


class Tensor:
    def __init__(self, name: str, array: np.ndarray) -> None:
        assert isinstance(array, np.ndarray)
        assert array.flags.c_contiguous, "the real one refuses it"
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._array


class TritonError:
    UNKNOWN, INTERNAL, NOT_FOUND, INVALID_ARG = "UNKNOWN", "INTERNAL", "NOT_FOUND", "INVALID_ARG"
    UNAVAILABLE, UNSUPPORTED, ALREADY_EXISTS, CANCELLED = "UNAVAILABLE", "UNSUPPORTED", "ALREADY_EXISTS", "CANCELLED"

    def __init__(self, message: str, code: str = INTERNAL) -> None:
        self._message, self._code = message, code

    def message(self) -> str:
        return self._message

    def code(self) -> str:
        return self._code


class InferenceResponse:
    def __init__(self, output_tensors: list[Tensor] | None = None, error: TritonError | None = None) -> None:
        self._tensors, self._error = output_tensors or [], error

    def output_tensors(self) -> list[Tensor]:
        return self._tensors

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> TritonError | None:
        return self._error

    def arrays(self) -> Arrays:
        """For tests."""
        assert self._error is None, self._error.message()
        return {tensor.name(): tensor.as_numpy() for tensor in self._tensors}

    def fault(self) -> tuple[str, str]:
        """For tests: code and message."""
        assert self._error is not None
        return self._error.code(), self._error.message()


class Sender:
    """Of one request: what was sent, and whether it was said to be the last."""

    def __init__(self) -> None:
        self.sent: list[InferenceResponse] = []
        self.finished = threading.Event()

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        assert not self.finished.is_set(), "something came after the last"
        if response is not None:
            self.sent.append(response)
        if flags & Backend.TRITONSERVER_RESPONSE_COMPLETE_FINAL:
            self.finished.set()

    def last(self) -> InferenceResponse:
        """What came last, once all has come."""
        assert self.finished.wait(30), "nothing was said to be the last"
        return self.sent[-1]


class Request:
    """What a model gets."""

    def __init__(
        self, inputs: Mapping[str, np.ndarray], timeout_us: int = 0, parameters: Mapping[str, object] | None = None
    ) -> None:
        self._inputs = {name: Tensor(name, array) for name, array in inputs.items()}
        self._timeout_us = timeout_us
        self._parameters = dict(parameters or {})
        self.sender = Sender()
        self.cancelled = False

    def inputs(self) -> Mapping[str, Tensor]:
        return self._inputs

    def timeout(self) -> int:
        return self._timeout_us

    def parameters(self) -> str:
        return json.dumps(self._parameters)

    def is_cancelled(self) -> bool:
        return self.cancelled

    def get_response_sender(self) -> Sender:
        return self.sender


class PreferredMemory:
    def __init__(self, memory_type: object, memory_type_id: int) -> None:
        self.memory_type, self.memory_type_id = memory_type, memory_type_id


class Backend:
    """The module.

    Attributes:
        graphs: name -> what computes it, given arrays. It raises a Refusal to answer with an error; whatever else it
            raises, the real `exec` would.
        asked: requests to them.
    """

    Tensor, TritonError, InferenceResponse, PreferredMemory = Tensor, TritonError, InferenceResponse, PreferredMemory
    TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
    TRITONSERVER_MEMORY_CPU = "cpu"

    def __init__(self, **graphs: Callable[[Arrays], Arrays]) -> None:
        self.graphs = dict(graphs)
        self.asked: list[Asked] = []

    def InferenceRequest(self, **arguments: Any) -> Asked:
        self.asked.append(Asked(self, **arguments))
        return self.asked[-1]

    @staticmethod
    def get_input_tensor_by_name(request: Request, name: str) -> Tensor | None:
        return request.inputs().get(name)

    @staticmethod
    def get_output_tensor_by_name(response: InferenceResponse, name: str) -> Tensor | None:
        return next((tensor for tensor in response.output_tensors() if tensor.name() == name), None)


class Refusal(Exception):
    """A graph's error, as Triton words it."""


class Asked:
    """A request of a model to another one."""

    def __init__(
        self,
        backend: Backend,
        *,
        model_name: str,
        requested_output_names: list[str],
        inputs: list[Tensor],
        model_version: int = -1,
        timeout: int = 0,
        preferred_memory: PreferredMemory | None = None,
    ) -> None:
        self._backend = backend
        self.model_name, self.model_version = model_name, model_version
        self.requested_output_names, self.inputs, self.timeout = requested_output_names, inputs, timeout

    def exec(self) -> InferenceResponse:
        graph = self._backend.graphs.get(self.model_name)
        if graph is None:
            return _refused(f"Failed for execute the inference request. Model '{self.model_name}' is not ready.")
        try:
            outputs = graph({tensor.name(): tensor.as_numpy() for tensor in self.inputs})
        except Refusal as refusal:
            return _refused(str(refusal))
        return InferenceResponse([Tensor(name, outputs[name]) for name in self.requested_output_names])


def _refused(message: str) -> InferenceResponse:
    return InferenceResponse(error=TritonError(message))


def model_arguments(root: Path, model: str, version: int = 1, kind: str = "CPU", **parameters: str) -> dict[str, str]:
    """What Triton hands to `initialize`."""
    given = {name: {"string_value": value} for name, value in parameters.items()}
    return {
        "model_config": json.dumps({"name": model, "parameters": given}),
        "model_instance_kind": kind,
        "model_instance_name": f"{model}_0_0",
        "model_instance_device_id": "0",
        "model_repository": str(root / "model_repository" / model),
        "model_version": str(version),
        "model_name": model,
    }
