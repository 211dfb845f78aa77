from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from vlp_export.gelu_form import order_gelu


def gelu(half: float = 0.5, extra_reader: bool = False) -> onnx.ModelProto:
    """GELU as torch's exporter writes it, by way of an Add so that it can fuse with a bias."""
    nodes = [
        helper.make_node("Add", ["x", "bias"], ["b"]),
        helper.make_node("Div", ["b", "root"], ["d"]),
        helper.make_node("Erf", ["d"], ["e"]),
        helper.make_node("Add", ["e", "one"], ["a"]),
        helper.make_node("Mul", ["half", "a"], ["h"]),
        helper.make_node("Mul", ["b", "h"], ["y"]),
    ]
    if extra_reader:
        nodes.append(helper.make_node("Neg", ["h"], ["z"]))
    outputs = ["y", "z"][: 1 + extra_reader]
    constants = {"root": 2**0.5, "one": 1.0, "half": half}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 64])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 64]) for name in outputs],
        [
            numpy_helper.from_array(np.linspace(-1, 1, 64, dtype=np.float32), "bias"),
            *(numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, optimised: Path | None = None) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if optimised is not None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(optimised)
    x = np.random.default_rng(0).standard_normal((9, 64)).astype(np.float32) * 3
    result: np.ndarray = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]
    return result


def test_the_numbers_stay_the_same_to_the_last_bit() -> None:
    model = gelu()
    before = run(model)
    assert order_gelu(model) == 1
    onnx.checker.check_model(model)
    assert run(model).tobytes() == before.tobytes()


def test_onnxruntime_takes_it_for_one_kernel(tmp_path: Path) -> None:
    model = gelu()
    order_gelu(model)
    run(model, tmp_path / "optimised.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds == ["BiasGelu"]


@pytest.mark.parametrize("model", [gelu(half=0.25), gelu(extra_reader=True)])
def test_what_is_another_function_or_read_elsewhere_stays(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    assert order_gelu(model) == 0
    assert model.SerializeToString() == before


def test_a_rewritten_graph_is_not_rewritten_again() -> None:
    model = gelu()
    order_gelu(model)
    assert order_gelu(model) == 0
