"""Which ONNX operators a graph may hold, so that every backend can read it.

All are of the default domain, and TensorRT's parser knows each of them (operator support matrix of onnx-tensorrt 10). A
test keeps the list: an operator that enters a graph through a new torch version shows up there, not on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vlp_spec.errors import ArtifactError

_NAMES = """
Abs Add And ArgMax Cast Clip Concat Constant ConstantOfShape Conv Cos Div Einsum Equal Erf Exp Expand Flatten Floor
Gather GatherElements GatherND Gelu Gemm Greater GreaterOrEqual Identity LayerNormalization Less LessOrEqual Log MatMul
Max Min Mod Mul Neg Not Or Pow Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Round Shape
Sigmoid Sin Slice Softmax Split Sqrt Squeeze Sub Tanh Tile Transpose Unsqueeze Where
"""
STANDARD_OPERATORS = frozenset(_NAMES.split())
"""Operators of a graph that is meant for any backend, TensorRT included."""

INT8_OPERATORS = STANDARD_OPERATORS | {"MatMulInteger", "QuantizeLinear", "DequantizeLinear"}
"""Operators of an int8 graph: standard ONNX too, but MatMulInteger is not read by TensorRT's parser."""


def check_operators(model: Any, allowed: Iterable[str] = STANDARD_OPERATORS) -> None:
    """Check that a graph, its subgraphs and functions hold allowed operators of the default domain only.

    Args:
        model: an onnx.ModelProto; not changed.
        allowed: operator names.

    Raises:
        ArtifactError: lists every operator that is not allowed, with how often it occurs.
    """
    permitted = set(allowed)
    foreign: dict[str, int] = {}
    for node in _nodes(model):
        if node.domain in ("", "ai.onnx") and node.op_type in permitted:
            continue
        label = f"{node.domain}.{node.op_type}" if node.domain else str(node.op_type)
        foreign[label] = foreign.get(label, 0) + 1
    if foreign:
        listing = ", ".join(f"{name} ({count})" for name, count in sorted(foreign.items()))
        raise ArtifactError(f"graph: operators that not every backend reads: {listing}")


def _nodes(model: Any) -> Iterator[Any]:
    for function in model.functions:
        yield from _walk(function.node)
    yield from _walk(model.graph.node)


def _walk(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in [attribute.g, *attribute.graphs]:
                yield from _walk(graph.node)
