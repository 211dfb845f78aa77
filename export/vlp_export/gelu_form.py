"""GELU in the order of operations that runtimes recognise and run as one kernel.

torch's exporter writes x * (0.5 * (1 + erf(x / sqrt 2))); onnxruntime looks for (x * (1 + erf(...))) * 0.5, and else
takes five passes over the widest tensor of a block (a tenth of a ViLT's time). The two are the same to the last bit,
for 0.5 is a power of two. (ONNX has an operator Gelu since opset 20, which older runtimes do not read.)
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import onnx

from vlp_export.graph_index import GraphIndex


def order_gelu(model: onnx.ModelProto) -> int:
    """Rewrite every GELU of torch's form; changes `model`.

    Returns:
        How many were rewritten.
    """
    index = GraphIndex(model)
    consumers: dict[str, list[Any]] = defaultdict(list)
    for node in model.graph.node:
        for tensor in node.input:
            consumers[tensor].append(node)
    return sum(_order(node, index, consumers) for node in model.graph.node if node.op_type == "Erf")


def _order(erf: Any, index: GraphIndex, consumers: dict[str, list[Any]]) -> bool:
    divide = index.producer(erf.input[0])
    add = _only(consumers[erf.output[0]], "Add")
    halve = _only(consumers[add.output[0]], "Mul") if add is not None else None
    final = _only(consumers[halve.output[0]], "Mul") if halve is not None else None
    if divide is None or divide.op_type not in ("Div", "Mul") or add is None or halve is None or final is None:
        return False
    (half,) = [name for name in halve.input if name != add.output[0]] or [""]
    source = divide.input[0]
    constant = index.constant(half)
    if constant is None or constant.size != 1 or float(constant.reshape(())) != 0.5 or source not in final.input:
        return False
    halve.input[:] = [source, add.output[0]]
    final.input[:] = [halve.output[0], half]
    return True


def _only(nodes: list[Any], operator: str) -> Any | None:
    """The single node that reads a tensor, when it is of this kind."""
    return nodes[0] if len(nodes) == 1 and nodes[0].op_type == operator else None
