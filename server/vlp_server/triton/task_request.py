"""What comes with a request to a task model, and what goes back: read from Triton, and not yet understood."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vlp_spec.errors import InvalidArgumentError, TooLargeError
from vlp_spec.tasks import Lane
from vlp_spec.triton_names import IMAGE, LANE_PARAMETER, OPTIONS, TEXT, TIMEOUT_PARAMETER

_MAX_TIMEOUT_MS = 3_600_000
# Two of the largest pictures that are read, and as much again for everything else.
_MAX_BYTES = 64 * 1024 * 1024
_MS, _US = 1_000, 1_000_000


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """What came with one request, as it was sent.

    Attributes:
        images: encoded pictures.
        texts: see task_wire.
        options: JSON, or nothing.
        deadline: seconds on the service's clock; None: the service's own default.
        lane: bulk requests wait behind interactive ones.
    """

    images: Sequence[bytes]
    texts: Sequence[str]
    options: bytes = b""
    deadline: float | None = None
    lane: Lane = Lane.INTERACTIVE

    @property
    def size_bytes(self) -> int:
        """Of its pictures."""
        return sum(map(len, self.images))

    def one_image(self) -> bytes:
        """The picture of a task on one.

        Raises:
            InvalidArgumentError: none, or several.
        """
        if len(self.images) != 1:
            raise InvalidArgumentError(f"{IMAGE}: got {len(self.images)} pictures, expected 1", field=IMAGE)
        return self.images[0]


@dataclass(frozen=True, slots=True)
class TaskReply:
    """What is sent back.

    Attributes:
        answers: the best answer to each text, in words.
        results: JSON.
        arrays: further outputs.
    """

    answers: Sequence[str]
    results: Sequence[bytes]
    arrays: dict[str, NDArray[np.float32]] = field(default_factory=dict)


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
    given = _parameters(request)
    timeout_ms = given.get(TIMEOUT_PARAMETER)
    if timeout_ms is not None and (type(timeout_ms) is not int or not 1 <= timeout_ms <= _MAX_TIMEOUT_MS):
        raise InvalidArgumentError(
            f"{TIMEOUT_PARAMETER}: got {timeout_ms!r:.40}, expected whole milliseconds from 1 to {_MAX_TIMEOUT_MS}",
            field=TIMEOUT_PARAMETER,
        )
    lane = given.get(LANE_PARAMETER, Lane.INTERACTIVE)
    if lane not in tuple(Lane):
        raise InvalidArgumentError(
            f"{LANE_PARAMETER}: got {lane!r:.40}, expected {' or '.join(Lane)}", field=LANE_PARAMETER
        )
    limits_s = [] if timeout_ms is None else [timeout_ms / _MS]
    if waited_us := request.timeout():
        limits_s.append(waited_us / _US)
    return min(limits_s, default=None), Lane(lane)


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
