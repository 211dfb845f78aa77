"""A torch module -> an ONNX graph with dynamic axes, by torch's exporter on top of torch.export.

The older exporter, which traces with TorchScript, is not used: it fixes what Python computes from shapes. Opset 18 is
read by TensorRT 10 (opsets 9 to 20 and up), onnxruntime since 1.14, and OpenVINO.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from vlp_spec.deployment import AxisLimit
from vlp_spec.errors import ArtifactError

from vlp_export.plain_attention import PlainAttention
from vlp_export.plan import GraphPlan

OPSET = 18
# The exporter folds constants of up to this many elements; larger ones are weights and stay as they are.
_IR_VERSION = 10


def export_graph(plan: GraphPlan, axes: Mapping[str, AxisLimit]) -> onnx.ModelProto:
    """Export a module.

    Args:
        plan: the module, its inputs and outputs.
        axes: limits of every axis that the inputs name.

    Returns:
        A model in memory; inputs and outputs carry the plan's names and axes.

    Raises:
        ArtifactError: torch cannot export the module.
    """
    arguments = tuple(torch.from_numpy(plan.example[spec.name].copy()) for spec in plan.inputs)
    # An axis of one size is none to torch.export; that only one is served is the deployment's business.
    dims = {
        name: torch.export.Dim(name, min=limit.min, max=max(limit.max, limit.min + 1)) for name, limit in axes.items()
    }
    shapes = tuple(
        {axis: dims[size] for axis, size in enumerate(spec.shape) if isinstance(size, str)} for spec in plan.inputs
    )
    attention = PlainAttention() if plan.plain_attention else contextlib.nullcontext()
    with _quiet(), torch.no_grad(), attention:
        try:
            program = torch.onnx.export(
                plan.module,
                arguments,
                dynamo=True,
                opset_version=OPSET,
                input_names=[spec.name for spec in plan.inputs],
                output_names=[spec.name for spec in plan.outputs],
                dynamic_shapes=_by_parameter(plan.module, shapes),
                optimize=True,
                verbose=False,
            )
        except Exception as error:
            raise ArtifactError(f"graph {plan.role}: torch cannot export it: {_first_line(error)}") from error
    if program is None:
        raise ArtifactError(f"graph {plan.role}: torch's exporter gave nothing")
    model = program.model_proto
    return _tidy(model, plan)


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Check a graph against the ONNX standard and write it as one file.

    Raises:
        ArtifactError: it breaks the standard, or is over protobuf's 2 GiB.
    """
    try:
        onnx.save_model(model, str(path))
        onnx.checker.check_model(str(path), full_check=False)
    except (ValueError, onnx.checker.ValidationError) as error:
        raise ArtifactError(f"graph {path.name}: not valid ONNX: {_first_line(error)}") from error


def _by_parameter(module: torch.nn.Module, shapes: tuple[Any, ...]) -> tuple[Any, ...]:
    """One entry a parameter of the module's `forward`, as torch.export wants them: what `*args` takes is one tuple."""
    parameters = inspect.signature(module.forward).parameters.values()
    named = [parameter for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL]
    if len(named) == len(parameters):
        return shapes
    return (*shapes[: len(named)], shapes[len(named) :])


def _tidy(model: onnx.ModelProto, plan: GraphPlan) -> onnx.ModelProto:
    """Drop what ties a graph to the exporting machine (stack traces, paths) and name the axes as the plan does."""
    if model.ir_version > _IR_VERSION:
        model.ir_version = _IR_VERSION
    for part in (model, model.graph):
        del part.metadata_props[:]
    for holder in (model.graph.node, model.graph.input, model.graph.output, model.graph.initializer):
        for item in holder:
            item.doc_string = ""
            del item.metadata_props[:]
    del model.graph.value_info[:]
    for value, spec in [*zip(model.graph.input, plan.inputs, strict=True), *_outputs(model, plan)]:
        for dim, size in zip(value.type.tensor_type.shape.dim, spec.shape, strict=True):
            if isinstance(size, str):
                dim.dim_param = size
            else:
                dim.dim_value = size
    return model


def _outputs(model: onnx.ModelProto, plan: GraphPlan) -> list[tuple[Any, Any]]:
    return list(zip(model.graph.output, plan.outputs, strict=True))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's exporter from printing its progress, logging and warning; ours is reported by stage."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
