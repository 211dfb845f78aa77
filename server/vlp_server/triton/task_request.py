"""What comes with a request to a task model, read from Triton and not yet understood."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from vlp_spec.errors import InvalidArgumentError, TooLargeError
from vlp_spec.tasks import Lane
from vlp_spec.triton_names import IMAGE, OPTIONS, TEXT

from vlp_server.task_models.task_records import TaskRequest
from vlp_server.task_models.task_terms import read_terms

# Two of the largest pictures that are read, and as much again for everything else.
_MAX_BYTES = 64 * 1024 * 1024
_US = 1_000_000


def read_request(backend: Any, request: Any, clock: Callable[[], float] = time.monotonic) -> TaskRequest:
    """Read a request of Triton's.

    Args:
        backend: the module triton_python_backend_utils.
        clock: the service's; the time of the caller runs from now.

    Raises:
        InvalidArgumentError: a text that is not UTF-8, or a parameter out of range.
        TooLargeError: more bytes than any request needs.
    """
    tensors = {name: _values(backend, request, name) for name in (IMAGE, TEXT, OPTIONS)}
    size = sum(len(value) for values in tensors.values() for value in values)
    if size > _MAX_BYTES:
        raise TooLargeError(f"request: {size} bytes, at most {_MAX_BYTES} are taken")
    timeout_s, lane = _terms(request)
    return TaskRequest(
        images=[bytes(one) for one in tensors[IMAGE]],
        texts=[_decoded(one) for one in tensors[TEXT]],
        options=b"".join(tensors[OPTIONS]),
        deadline=None if timeout_s is None else clock() + timeout_s,
        lane=lane,
    )


def _terms(request: Any) -> tuple[float | None, Lane]:
    """Timeout in seconds, and lane.

    Triton's own timeout and priority reach models with a queue alone, which a task model has not; so they are
    parameters. Its timeout counts all the same where a version of Triton hands it on.
    """
    timeout_s, lane = read_terms(_parameters(request))
    limits_s = [] if timeout_s is None else [timeout_s]
    if waited_us := request.timeout():
        limits_s.append(waited_us / _US)
    return min(limits_s, default=None), lane or Lane.INTERACTIVE


def _parameters(request: Any) -> dict[str, Any]:
    """Those that the caller sent; other names are other readers'."""
    text = request.parameters()
    try:
        given = json.loads(text) if text else {}
    except ValueError as error:  # numbers that are none come through as such
        raise InvalidArgumentError("parameters: not JSON", field="parameters", detail=str(error)) from error
    return given if isinstance(given, dict) else {}


def _values(backend: Any, request: Any, name: str) -> list[bytes]:
    tensor = backend.get_input_tensor_by_name(request, name)
    return [] if tensor is None else list(tensor.as_numpy().reshape(-1))


def _decoded(text: bytes) -> str:
    try:
        return bytes(text).decode()
    except UnicodeDecodeError:
        raise InvalidArgumentError(f"{TEXT}: not UTF-8", field=TEXT) from None
