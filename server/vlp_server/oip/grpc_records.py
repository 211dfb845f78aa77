"""Messages of the protocol <-> the records of vlp_server.oip."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from vlp_spec.errors import InvalidArgumentError, TooLargeError

from vlp_server.oip.datatypes import BYTES
from vlp_server.oip.gate import Passed
from vlp_server.oip.grpc_messages import message_class, parser, whole
from vlp_server.oip.records import InferReply, InferRequest, InputTensor, Parameters, ParameterValue, RequestedOutput
from vlp_server.oip.shapes import check_sizes
from vlp_server.oip.tensor_data import raw_of
from vlp_server.oip.wire_fields import check_fields

_REQUEST = "ModelInferRequest"
# A number of one byte on the wire takes so many in memory, at worst.
_NUMBERS_WEIGHT = 8
FINAL = "triton_final_response"
_MAX_TENSORS = 256
_MAX_PARAMETERS = 64
_INLINE_BYTES = 64 * 1024
_INLINE_ROWS = 64
_CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    BYTES: "bytes_contents",
}


async def parse_infer_request(data: bytes, passed: Passed) -> Any:
    """A ModelInferRequest; of many bytes in a thread. Counts what it holds.

    Raises:
        InvalidArgumentError: the bytes are none.
        TooLargeError: see check_fields.
        OverloadedError: others hold the memory that it needs.
    """
    passed.note(received=len(data))
    passed.take(len(data))
    if len(data) <= _INLINE_BYTES:
        return whole(parser(_REQUEST)(data))
    numbers = await asyncio.to_thread(check_fields, data, message_class(_REQUEST).DESCRIPTOR)
    passed.take((_NUMBERS_WEIGHT - 1) * numbers)
    return whole(await asyncio.to_thread(parser(_REQUEST), data))


async def read_message(message: Any, size_bytes: int) -> InferRequest:
    """As `read_request`; a message of many bytes in a thread."""
    return await asyncio.to_thread(read_request, message) if size_bytes > _INLINE_BYTES else read_request(message)


async def write_message(reply: InferReply, *, streamed: bool = False) -> Any:
    """As `write_reply`; a large reply in a thread."""
    if sum(len(output.data) for output in reply.outputs) > _INLINE_ROWS:
        return await asyncio.to_thread(write_reply, reply, streamed=streamed)
    return write_reply(reply, streamed=streamed)


def read_request(message: Any) -> InferRequest:
    """The record of a ModelInferRequest.

    Raises:
        InvalidArgumentError: raw contents of some inputs and not of all, or beside others.
        TooLargeError: more inputs, outputs or parameters than anybody needs.
    """
    raw = message.raw_input_contents
    if max(len(message.inputs), len(message.outputs), len(raw)) > _MAX_TENSORS:
        raise TooLargeError(f"at most {_MAX_TENSORS} inputs, and as many outputs, are read")
    if raw and len(raw) != len(message.inputs):
        raise InvalidArgumentError(f"raw_input_contents: {len(raw)} for {len(message.inputs)} inputs")
    return InferRequest(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        inputs=[_input(tensor, raw[index] if raw else None) for index, tensor in enumerate(message.inputs)],
        outputs=[RequestedOutput(output.name, _parameters(output.parameters)) for output in message.outputs],
        parameters=_parameters(message.parameters),
    )


def write_reply(reply: InferReply, *, streamed: bool = False) -> Any:
    """The ModelInferResponse of a reply; outputs are sent raw.

    Args:
        streamed: whether to say that it is the last answer, or is not.
    """
    message = message_class("ModelInferResponse")(model_name=reply.name, model_version=reply.version, id=reply.id)
    if streamed:
        message.parameters[FINAL].bool_param = reply.final
    for output in reply.outputs:
        message.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        message.raw_output_contents.append(raw_of(output))
    return message


def _input(tensor: Any, raw: bytes | None) -> InputTensor:
    name, parameters = tensor.name, _parameters(tensor.parameters)
    shape = check_sizes(name, list(tensor.shape[:_MAX_TENSORS]))
    if raw is not None:
        if tensor.HasField("contents"):
            raise InvalidArgumentError(
                f"input {name[:64]!r}: has contents, and raw_input_contents too", field=name[:64]
            )
        return InputTensor(name, tensor.datatype, shape, raw=raw, parameters=parameters)
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        # Of no datatype that a model here has, unless it is FP16.
        raise InvalidArgumentError(
            f"input {name[:64]!r}: datatype {tensor.datatype[:20]!r} can only be sent in raw_input_contents",
            field=name[:64],
        )
    # Not as a list: of how many they are nothing is known yet.
    values = getattr(tensor.contents, field)
    return InputTensor(name, tensor.datatype, shape, values=values, parameters=parameters)


def _parameters(parameters: Mapping[str, Any]) -> Parameters:
    if len(parameters) > _MAX_PARAMETERS:
        raise TooLargeError(f"{len(parameters)} parameters, at most {_MAX_PARAMETERS} are read")
    values: dict[str, ParameterValue] = {}
    for name, parameter in parameters.items():
        if (choice := parameter.WhichOneof("parameter_choice")) is not None:
            values[name] = getattr(parameter, choice)
    return values
