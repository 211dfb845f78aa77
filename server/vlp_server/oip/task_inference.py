"""A request to a task: pictures, texts and options out of its tensors, and the reply back into some."""

from __future__ import annotations

import json

from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import Lane
from vlp_spec.triton_names import ANSWER, IMAGE, OPTIONS, RESULT, TEXT

from vlp_server.config.settings import LimitsConfig
from vlp_server.core.hosted_models import HostedModel
from vlp_server.engines.task_wire import STREAM_OPTION
from vlp_server.oip.datatypes import BYTES
from vlp_server.oip.records import InferReply, InferRequest, OutputTensor
from vlp_server.oip.requested import given_inputs, wanted_outputs
from vlp_server.oip.shapes import ShapeCheck
from vlp_server.oip.signatures import signature_of
from vlp_server.oip.tensor_data import read_elements
from vlp_server.task_models.task_records import TaskReply, TaskRequest


def read_task(
    limits: LimitsConfig, hosted: HostedModel, request: InferRequest, deadline: float | None, lane: Lane
) -> TaskRequest:
    """What a request asks of a task.

    Raises:
        InvalidArgumentError: its tensors are not as the model's metadata says, or a text is none.
        TooLargeError: more elements than one call may have.
    """
    signature = signature_of(hosted)
    wanted_outputs(request, [output.name for output in signature.outputs])
    given = given_inputs(request, signature.inputs)
    shapes = ShapeCheck({}, 0, max_elements=limits.inputs)
    counts = {
        one.name: shapes.check(one, given[one.name].datatype, given[one.name].shape)
        for one in signature.inputs
        if one.name in given
    }
    elements = {name: read_elements(given[name], count) for name, count in counts.items()}
    return TaskRequest(
        images=elements.get(IMAGE, []),
        texts=[_text(one) for one in elements.get(TEXT, [])],
        options=b"".join(elements.get(OPTIONS, [])),
        deadline=deadline,
        lane=lane,
    )


def wants_pieces(asked: TaskRequest) -> bool:
    """Whether a caption is wanted piece by piece. Options that cannot be read are refused by those who read them."""
    try:
        options = json.loads(asked.options or b"{}")
    except (ValueError, RecursionError):
        return False
    return isinstance(options, dict) and options.get(STREAM_OPTION) is True


def task_reply(hosted: HostedModel, request: InferRequest, told: TaskReply, *, final: bool = True) -> InferReply:
    """A reply, or a part of one, with the outputs that were asked for."""
    outputs: dict[str, OutputTensor] = {
        name: OutputTensor(name, "FP32", array.shape, array) for name, array in told.arrays.items()
    }
    if not told.arrays:
        outputs[ANSWER] = _texts(ANSWER, [answer.encode() for answer in told.answers])
    outputs[RESULT] = _texts(RESULT, list(told.results))
    names = wanted_outputs(request, [output.name for output in signature_of(hosted).outputs])
    return InferReply(
        model=hosted.deployment,
        name=hosted.name,
        version=str(hosted.version),
        id=request.id,
        outputs=[outputs[name] for name in names],
        final=final,
    )


def _texts(name: str, elements: list[bytes]) -> OutputTensor:
    return OutputTensor(name, BYTES, (len(elements),), elements)


def _text(element: bytes) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError:
        raise InvalidArgumentError(f"{TEXT}: not UTF-8", field=TEXT) from None
