"""Products with constant weights -> int8, with one activation scale per row.

A row is a token or patch of one item, so what is beside an item in a batch cannot reach its scales. (One scale for a
whole tensor, as plain dynamic quantisation takes it, lets a neighbour move an item's answer.) Only standard
operators: QuantizeLinear with its scales along axis 0, MatMulInteger, Cast, Mul, Add.

Activations are unsigned with zero point 128, weights signed, symmetric, with a scale per column, and within +-63: on
processors without VNNI instructions the fast kernel adds pairs of products in 16 bits and saturates, silently, beyond
2 * 255 * 63 < 2**15. With seven bits the sum is exact on every processor.

A product that reads raw uint8 pixels through a normalisation takes the pixels as they are: the normalisation goes
into scale and bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vlp_export.graph_index import GraphIndex

WEIGHT_LIMIT = 63
_ACTIVATION_LIMIT = 127.0
_ZERO_POINT = 128
_TINY = 1e-20
"""Scale of a row of zeros."""


@dataclass(frozen=True, slots=True)
class _Product:
    """A MatMul or Gemm with constant weights, as y = x @ weight + bias."""

    node: Any
    weight: np.ndarray
    bias: np.ndarray | None


@dataclass(frozen=True, slots=True)
class _Bytes:
    """A float tensor that is scale * pixels + shift, of a uint8 tensor."""

    pixels: str
    scale: float
    shift: float


def quantize_rows(model: onnx.ModelProto, table_inputs: frozenset[str] = frozenset()) -> int:
    """Rewrite the products of a float32 graph; changes `model`.

    Args:
        model: with MatMul and Gemm nodes on float32 weights.
        table_inputs: graph inputs; products that depend on nothing else stay as they are (interpolated positions are
            looked up rather than computed).

    Returns:
        How many products were rewritten.
    """
    index = GraphIndex(model)
    writer = _Writer(model, index)
    nodes: list[Any] = []
    count = 0
    for node in model.graph.node:
        product = _read_product(node, index)
        if product is None or index.dependencies(node.input[0]) <= table_inputs:
            nodes.append(node)
            continue
        nodes += writer.rewrite(product)
        count += 1
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    remove_unused(model)
    return count


def quantize_columns(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (K, N) float -> int8 (K, N) within +-63 and a scale (N,) float32 for each column."""
    largest = np.abs(weight).max(axis=0)
    scale = np.where(largest > 0, largest / WEIGHT_LIMIT, 1.0).astype(np.float32)
    quantized = np.clip(np.rint(weight / scale), -WEIGHT_LIMIT, WEIGHT_LIMIT)
    return quantized.astype(np.int8), scale


def remove_unused(model: onnx.ModelProto) -> None:
    """Drop nodes and initializers that no output needs; changes `model`."""
    needed = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    initializers = [item for item in model.graph.initializer if item.name in needed]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(reversed(kept))
    model.graph.initializer.extend(initializers)


def _read_product(node: Any, index: GraphIndex) -> _Product | None:
    if node.op_type not in ("MatMul", "Gemm"):
        return None
    weight = _weight(node.input[1], index)
    if weight is None or weight.ndim != 2 or weight.dtype != np.float32 or index.constant(node.input[0]) is not None:
        return None
    if node.op_type == "MatMul":
        return _Product(node, weight, None)
    settings = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if settings.get("transA", 0) or settings.get("alpha", 1.0) != 1.0 or settings.get("beta", 1.0) != 1.0:
        return None
    bias = index.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if len(node.input) > 2 and node.input[2] and bias is None:
        return None
    return _Product(node, weight.T if settings.get("transB", 0) else weight, bias)


def _weight(tensor: str, index: GraphIndex) -> np.ndarray | None:
    """A constant, also one that is turned on its way: a word table that makes logits too."""
    node = index.producer(tensor)
    if node is None or node.op_type != "Transpose":
        return index.constant(tensor)
    table = index.constant(node.input[0])
    order = [list(item.ints) for item in node.attribute if item.name == "perm"]
    return None if table is None else np.transpose(table, *order)


def _read_bytes(tensor: str, index: GraphIndex) -> _Bytes | None:
    """Recognise Cast, then any Mul, Div, Add, Sub by constants, down to a uint8 graph input."""
    scale, shift = 1.0, 0.0
    while (node := index.producer(tensor)) is not None:
        if node.op_type == "Cast":
            value = index.inputs.get(node.input[0])
            is_bytes = value is not None and value.type.tensor_type.elem_type == TensorProto.UINT8
            return _Bytes(node.input[0], scale, shift) if is_bytes else None
        operand = index.constant(node.input[1]) if len(node.input) == 2 else None
        if operand is None or operand.size != 1 or node.op_type not in ("Mul", "Div", "Add", "Sub"):
            return None
        scale, shift = _compose(node.op_type, float(operand.reshape(())), scale, shift)
        tensor = node.input[0]
    return None


def _compose(operator: str, number: float, scale: float, shift: float) -> tuple[float, float]:
    """Scale and shift of y = scale * f(x) + shift in terms of x, where f applies `operator` with `number`."""
    if operator == "Mul":
        return scale * number, shift
    if operator == "Div":
        return scale / number, shift
    return scale, shift + (scale * number if operator == "Add" else -scale * number)


class _Writer:
    """Makes the nodes that take a product's place, and their constants; an activation is quantised once."""

    def __init__(self, model: onnx.ModelProto, index: GraphIndex) -> None:
        self._model, self._index = model, index
        self._quantized: dict[str, tuple[str, str]] = {}
        self._constants: set[str] = set()

    def rewrite(self, product: _Product) -> list[Any]:
        """Nodes whose last one makes the product's output."""
        node, output = product.node, product.node.output[0]
        pixels = _read_bytes(node.input[0], self._index)
        weight, column_scale = quantize_columns(product.weight)
        bias = product.bias
        if pixels is not None:
            # (a p + b) @ W = a (p @ W) + b * sum of W's column, with the weights as they now are.
            column_sum = (weight.astype(np.float64).sum(axis=0) * column_scale).astype(np.float64)
            shifted = pixels.shift * column_sum + (0.0 if bias is None else bias)
            bias, column_scale = shifted.astype(np.float32), (column_scale * pixels.scale).astype(np.float32)
        nodes, source, row_scale = self._activation(node.input[0], weight.shape[0], pixels)
        zero = [] if pixels else [self._zero_point()]
        weights = self._constant(f"{output}.weight", weight)
        nodes.append(
            helper.make_node("MatMulInteger", [source, weights, *zero], [f"{output}.sum"], f"{output}.product")
        )
        nodes.append(helper.make_node("Cast", [f"{output}.sum"], [f"{output}.float"], to=TensorProto.FLOAT))
        current = f"{output}.float"
        factors = [] if row_scale is None else [("row", row_scale)]
        factors.append(("column", self._constant(f"{output}.scale", column_scale)))
        for name, factor in factors:
            last = name == "column" and bias is None
            following = output if last else f"{output}.{name}"
            nodes.append(helper.make_node("Mul", [current, factor], [following]))
            current = following
        if bias is not None:
            nodes.append(helper.make_node("Add", [current, self._constant(f"{output}.bias", bias)], [output]))
        return nodes

    def _activation(self, tensor: str, width: int, pixels: _Bytes | None) -> tuple[list[Any], str, str | None]:
        """Nodes, and the names of the uint8 activation and of its scale for each row (None: pixels have none)."""
        if pixels is not None:
            return [], pixels.pixels, None
        if tensor in self._quantized:
            return [], *self._quantized[tensor]
        self._quantized[tensor] = (f"{tensor}.uint8", f"{tensor}.row_scale")
        return self._quantize_nodes(tensor, width), *self._quantized[tensor]

    def _quantize_nodes(self, tensor: str, width: int) -> list[Any]:
        last = self._constant("int8.last_axis", np.array([-1], np.int64), shared=True)
        rows = self._constant(f"int8.rows_of_{width}", np.array([-1, width], np.int64), shared=True)
        limit = self._constant("int8.limit", np.array(_ACTIVATION_LIMIT, np.float32), shared=True)
        tiny = self._constant("int8.tiny", np.array(_TINY, np.float32), shared=True)
        zero = self._zero_point()
        name = f"{tensor}."
        make = helper.make_node
        return [
            make("Abs", [tensor], [name + "abs"]),
            make("ReduceMax", [name + "abs", last], [name + "largest"], keepdims=1),
            make("Div", [name + "largest", limit], [name + "raw_scale"]),
            make("Max", [name + "raw_scale", tiny], [name + "row_scale"]),
            make("Reshape", [name + "row_scale", last], [name + "scales"]),
            make("Shape", [name + "scales"], [name + "count"]),
            make("Expand", [zero, name + "count"], [name + "zeros"]),
            make("Reshape", [tensor, rows], [name + "rows"]),
            make("QuantizeLinear", [name + "rows", name + "scales", name + "zeros"], [name + "codes"], axis=0),
            make("Shape", [tensor], [name + "shape"]),
            make("Reshape", [name + "codes", name + "shape"], [name + "uint8"]),
        ]

    def _zero_point(self) -> str:
        return self._constant("int8.zero_point", np.array(_ZERO_POINT, np.uint8), shared=True)

    def _constant(self, name: str, value: np.ndarray, *, shared: bool = False) -> str:
        if not (shared and name in self._constants):
            self._constants.add(name)
            self._model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name
