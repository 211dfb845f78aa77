"""What an inference request says and gets, the same over HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from vlp_server.core.records import Timings

ParameterValue = bool | int | float | str
Parameters = Mapping[str, ParameterValue]


@dataclass(frozen=True, slots=True)
class InputTensor:
    """A tensor as it was sent; nothing of it is checked yet.

    Attributes:
        shape: with the batch.
        raw: its bytes as they lie in memory, or None.
        values: where there is no `raw`: its values in row-major order, nested or flat.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes | memoryview | None = None
    values: Sequence[Any] | None = None
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that is wanted."""

    name: str
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request.

    Attributes:
        version: "" where none is named.
        id: the caller's own; sent back.
        outputs: wanted ones; none: all.
        whole_body: in place of `inputs`: the bytes of a model's only input.
    """

    model: str
    version: str = ""
    id: str = ""
    inputs: Sequence[InputTensor] = ()
    outputs: Sequence[RequestedOutput] = ()
    parameters: Parameters = field(default_factory=dict)
    whole_body: bytes | None = None


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """An output.

    Attributes:
        shape: with the batch.
        data: an array of numbers, or the elements of a BYTES tensor.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: NDArray[Any] | Sequence[bytes]


@dataclass(frozen=True, slots=True)
class InferReply:
    """An answer, or a part of one.

    Attributes:
        model: "name@version" of the deployment, for logs.
        name: of the model as the protocol has it.
        outputs: in the order in which they were asked for.
        final: whether no further part follows.
    """

    model: str
    name: str
    version: str
    id: str
    outputs: Sequence[OutputTensor]
    timings: Timings = field(default_factory=Timings)
    final: bool = True
