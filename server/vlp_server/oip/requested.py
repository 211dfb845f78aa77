"""Which inputs a request brings and which outputs it wants, by name."""

from __future__ import annotations

from collections.abc import Sequence

from vlp_spec.errors import InvalidArgumentError

from vlp_server.oip.datatypes import BYTES
from vlp_server.oip.records import InferRequest, InputTensor
from vlp_server.oip.signatures import TensorSignature


def given_inputs(request: InferRequest, wanted: Sequence[TensorSignature]) -> dict[str, InputTensor]:
    """The request's inputs by name.

    Raises:
        InvalidArgumentError: one is unknown, missing, or sent twice; a whole body for a model of several inputs.
    """
    if request.whole_body is not None:
        only = _only_input(wanted)
        return {only.name: _from_body(only, request.whole_body)}
    known = {tensor.name for tensor in wanted}
    given: dict[str, InputTensor] = {}
    for tensor in request.inputs:
        if tensor.name not in known:
            listed = ", ".join(sorted(known))
            raise InvalidArgumentError(f"input {tensor.name[:64]!r}: not among {listed}", field=tensor.name[:64])
        if tensor.name in given:
            raise InvalidArgumentError(f"input {tensor.name!r}: sent twice", field=tensor.name)
        given[tensor.name] = tensor
    for one in wanted:
        if one.name not in given and not one.optional:
            raise InvalidArgumentError(f"input {one.name!r}: missing", field=one.name)
    return given


def wanted_outputs(request: InferRequest, known: Sequence[str]) -> list[str]:
    """Names of the outputs to send, in the order in which they were asked for.

    Raises:
        InvalidArgumentError: one is unknown, or asked for twice.
    """
    names = [output.name for output in request.outputs]
    for name in names:
        if name not in known:
            raise InvalidArgumentError(f"output {name[:64]!r}: not among {', '.join(known)}", field=name[:64])
        if names.count(name) > 1:
            raise InvalidArgumentError(f"output {name!r}: asked for twice", field=name)
    return names or list(known)


def _only_input(wanted: Sequence[TensorSignature]) -> TensorSignature:
    needed = [tensor for tensor in wanted if not tensor.optional]
    if len(needed) != 1:
        raise InvalidArgumentError(f"a body without a header of JSON needs a model of one input, not of {len(needed)}")
    return needed[0]


def _from_body(only: TensorSignature, body: bytes) -> InputTensor:
    """One row, whose bytes are the body; of a BYTES input one element."""
    if only.datatype == BYTES:
        return InputTensor(only.name, BYTES, (1,), values=[body])
    shape = tuple(1 if size == "batch" else size for size in only.shape)
    if not all(isinstance(size, int) for size in shape):
        raise InvalidArgumentError(f"input {only.name!r}: its shape {only.sizes} cannot be told from a body alone")
    return InputTensor(only.name, only.datatype, tuple(int(size) for size in shape), raw=body)
