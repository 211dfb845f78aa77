"""Weights that are float16 numbers, stored as float16: half the file, nothing lost.

A graph of a checkpoint whose weights are stored as float16 holds float32 numbers that are all exactly float16. Each
becomes a float16 initializer and a Cast, which a runtime folds once at load; the arithmetic stays float32.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MIN_ELEMENTS = 256
"""Smaller tensors are left alone: a Cast costs more than it saves."""


def store_as_float16(model: onnx.ModelProto) -> int:
    """Turn initializers into float16 where that loses nothing; changes `model`.

    Returns:
        How many were turned.
    """
    graph = model.graph
    casts = []
    for initializer in graph.initializer:
        if initializer.data_type != TensorProto.FLOAT or np.prod(initializer.dims) < MIN_ELEMENTS:
            continue
        values = numpy_helper.to_array(initializer)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        # Bits, not values: a NaN or a negative zero must come back as it was.
        if half.astype(np.float32).tobytes() != values.tobytes():
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(half, f"{name}.float16"))
        casts.append(helper.make_node("Cast", [f"{name}.float16"], [name], f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return len(casts)
