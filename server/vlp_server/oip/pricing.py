"""What an inference request costs, before anything of it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlp_server.access.prices import Weight, tensors_weight
from vlp_server.oip.records import InferRequest, InputTensor

# Of a number in JSON or in a message's own field.
_NUMBER_BYTES = 4


def request_weight(request: InferRequest) -> Weight:
    """By the bytes of its tensors."""
    whole = 0 if request.whole_body is None else len(request.whole_body)
    return tensors_weight(whole + sum(map(_tensor_bytes, request.inputs)))


def _tensor_bytes(tensor: InputTensor) -> int:
    return len(tensor.raw) if tensor.raw is not None else _values_bytes(tensor.values or ())


def _values_bytes(values: Sequence[Any]) -> int:
    """Of values as they were sent, nested or flat; a loop, because the nesting is the caller's."""
    size, waiting = 0, [values]
    while waiting:
        for value in waiting.pop():
            if isinstance(value, list):
                waiting.append(value)
            else:
                size += len(value) if isinstance(value, str | bytes) else _NUMBER_BYTES
    return size
