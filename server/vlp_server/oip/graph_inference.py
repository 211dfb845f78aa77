"""A request to a graph: its tensors are checked against the manifest, its rows go through the graph's queue."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vlp_spec.deployment import GraphRef
from vlp_spec.errors import InferenceError, InternalError, InvalidArgumentError
from vlp_spec.tasks import Lane
from vlp_spec.tensors import TensorSpec

from vlp_server.core.bisection import RowOutputs
from vlp_server.core.hosted_models import HostedModel, HostedModels
from vlp_server.oip.datatypes import DATATYPES
from vlp_server.oip.pricing import Charge, graph_weight
from vlp_server.oip.records import InferReply, InferRequest, InputTensor, OutputTensor
from vlp_server.oip.requested import given_inputs, wanted_outputs
from vlp_server.oip.shapes import ShapeCheck
from vlp_server.oip.signatures import signature_of
from vlp_server.oip.tensor_data import read_numbers

# From so many bytes, or values as objects, on arrays are made in a thread.
_INLINE_BYTES = 256 * 1024
_INLINE_VALUES = 4096


async def run_graph(
    models: HostedModels,
    hosted: HostedModel,
    request: InferRequest,
    lane: Lane,
    deadline: float | None,
    *,
    charge: Charge,
) -> tuple[InferReply, tuple[int, ...]]:
    """Answer a request.

    Args:
        hosted: a graph.
        charge: asked when the inputs are read, before they wait for the graph.

    Returns:
        the reply, and of each row the size of its batch.

    Raises:
        VlpError: see HostedModels.run_graph; InvalidArgumentError for tensors that are not as the manifest says, and
            where the graph fails on them.
    """
    graph = hosted.part
    if not isinstance(graph, GraphRef):
        raise InternalError(detail=f"{hosted.name} is no graph")
    names = wanted_outputs(request, [spec.name for spec in graph.outputs])
    feeds = await (asyncio.to_thread(_feeds, hosted, request) if _is_large(request) else _soon(hosted, request))
    charge(graph_weight(feeds), None)
    # A number an item is sent as a row of one.
    shaped = {spec.name: feeds[spec.name].reshape(feeds[spec.name].shape[: len(spec.shape)]) for spec in graph.inputs}
    try:
        reply = await models.run_graph(hosted, shaped, deadline=deadline, lane=lane)
    except InferenceError as error:
        # The numbers are the caller's own, as they are not where a task fails.
        raise InvalidArgumentError(
            f"model {hosted.name!r}: the graph fails on these inputs, and will again", detail=error.detail
        ) from error
    specs = {spec.name: spec for spec in graph.outputs}
    outputs = [_output(specs[name], reply.rows) for name in names]
    told = InferReply(reply.model, hosted.name, str(hosted.version), request.id, outputs, reply.timings)
    return told, reply.batches


async def _soon(hosted: HostedModel, request: InferRequest) -> dict[str, NDArray[Any]]:
    return _feeds(hosted, request)


def _feeds(hosted: HostedModel, request: InferRequest) -> dict[str, NDArray[Any]]:
    signature = signature_of(hosted)
    given = given_inputs(request, signature.inputs)
    shapes = ShapeCheck(hosted.axes, hosted.max_rows, max_elements=0)
    # All shapes before any array.
    counts = {
        wanted.name: shapes.check(wanted, given[wanted.name].datatype, given[wanted.name].shape)
        for wanted in signature.inputs
    }
    return {name: read_numbers(given[name], count) for name, count in counts.items()}


def _is_large(request: InferRequest) -> bool:
    return sum(map(_bytes, request.inputs)) > _INLINE_BYTES or sum(map(_values, request.inputs)) > _INLINE_VALUES


def _bytes(tensor: InputTensor) -> int:
    return 0 if tensor.raw is None else len(tensor.raw)


def _values(tensor: InputTensor) -> int:
    """An estimate: of nested lists the elements of the first ones."""
    count, values = 0, tensor.values
    if values is not None and not isinstance(values, list):  # a message's own, which are flat
        return len(values)
    while isinstance(values, list) and values:
        count = max(1, count) * len(values)
        values = values[0]
    return count


def _output(spec: TensorSpec, rows: list[RowOutputs]) -> OutputTensor:
    array = np.stack([row[spec.name] for row in rows])
    if len(spec.shape) == 1:
        array = array[:, None]
    return OutputTensor(spec.name, DATATYPES[spec.dtype], array.shape, array)
