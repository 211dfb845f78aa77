from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from vlp_export.float16_storage import MIN_ELEMENTS, store_as_float16


def model_of(**constants: np.ndarray) -> onnx.ModelProto:
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in constants]
    outputs = [
        helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, value.shape)
        for name, value in constants.items()
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", [], outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def values_of(model: onnx.ModelProto) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return list(session.run(None, {}))


def test_half_precision_weights_take_half_the_file_and_come_back_bit_by_bit() -> None:
    half = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float16).astype(np.float32)
    half[0, :4] = (-0.0, 65504.0, 6e-8, np.inf)
    half = half.astype(np.float16).astype(np.float32)
    model = model_of(weight=half)
    before = len(model.SerializeToString())
    assert store_as_float16(model) == 1
    onnx.checker.check_model(model)
    assert len(model.SerializeToString()) < before * 0.6
    assert values_of(model)[0].tobytes() == half.tobytes()


def test_what_would_lose_a_bit_stays() -> None:
    whole = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    large = np.full((64, 64), 1e5, np.float32)
    small = np.ones(MIN_ELEMENTS - 1, np.float32)
    model = model_of(whole=whole, large=large, small=small)
    before = model.SerializeToString()
    assert store_as_float16(model) == 0
    assert model.SerializeToString() == before


def test_integers_are_not_touched() -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["codes"], ["out"])],
        "graph",
        [],
        [helper.make_tensor_value_info("out", TensorProto.INT8, (64, 64))],
        [numpy_helper.from_array(np.ones((64, 64), np.int8), "codes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    assert store_as_float16(model) == 0
