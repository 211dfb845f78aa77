"""Looking things up in an ONNX graph: who makes a tensor, what is constant, what depends on which input."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

_SHAPE_ONLY = frozenset({"Shape", "Size"})


class GraphIndex:
    """A reading of a graph as it was when the index was made; not updated when the graph changes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.inputs = {value.name: value for value in model.graph.input}
        self._initializers = {item.name: item for item in model.graph.initializer}
        self._producers = {name: node for node in model.graph.node for name in node.output if name}
        self._depends = cache(self._find_dependencies)

    def producer(self, tensor: str) -> Any | None:
        """The node that makes a tensor; None for inputs and initializers."""
        return self._producers.get(tensor)

    def constant(self, tensor: str) -> np.ndarray | None:
        """The value of an initializer or Constant node; None for anything that is computed."""
        if tensor in self._initializers:
            return np.asarray(numpy_helper.to_array(self._initializers[tensor]))
        node = self._producers.get(tensor)
        if node is not None and node.op_type == "Constant" and node.attribute[0].name == "value":
            return np.asarray(numpy_helper.to_array(node.attribute[0].t))
        return None

    def dependencies(self, tensor: str) -> frozenset[str]:
        """Graph inputs whose values (not shapes alone) a tensor depends on."""
        return self._depends(tensor)

    def _find_dependencies(self, tensor: str) -> frozenset[str]:
        found: set[str] = set()
        seen: set[str] = set()
        pending = [tensor]
        while pending:
            name = pending.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self.inputs:
                found.add(name)
            node = self._producers.get(name)
            if node is not None and node.op_type not in _SHAPE_ONLY:
                pending.extend(node.input)
        return frozenset(found)
