from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from vlp_export.int8 import WEIGHT_LIMIT, quantize_columns, quantize_rows
from vlp_export.operators import INT8_OPERATORS, check_operators

WIDTH, OUT = 64, 48


def make_model(nodes: list[Any], constants: dict[str, np.ndarray], kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """x (batch, rows, WIDTH) -> y, with a second output when a node makes z."""
    shape = ["rows", OUT] if any(node.op_type == "Gemm" for node in nodes) else ["batch", "rows", None]
    made = [name for name in ("y", "z") if any(name in node.output for node in nodes)]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, ["batch", "rows", WIDTH])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in made],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, x: np.ndarray) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def linear(random: np.random.Generator) -> tuple[onnx.ModelProto, np.ndarray, np.ndarray]:
    weight = random.standard_normal((WIDTH, OUT)).astype(np.float32)
    bias = random.standard_normal(OUT).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"])]
    return make_model(nodes, {"w": weight, "b": bias}), weight, bias


def test_weights_have_a_scale_for_each_column(random: np.random.Generator) -> None:
    weight = random.standard_normal((WIDTH, OUT)).astype(np.float32) * np.geomspace(1e-3, 1e3, OUT, dtype=np.float32)
    weight[:, 3] = 0
    codes, scale = quantize_columns(weight)
    assert codes.dtype == np.int8
    assert np.abs(codes).max() == WEIGHT_LIMIT
    assert (np.abs(codes * scale - weight) <= scale / 2 * 1.001).all()
    assert (codes[:, 3] == 0).all()


def test_a_row_is_rounded_by_its_own_largest_value(random: np.random.Generator) -> None:
    model, weight, bias = linear(random)
    assert quantize_rows(model) == 1
    check_operators(model, INT8_OPERATORS)
    onnx.checker.check_model(model)
    x = random.standard_normal((2, 5, WIDTH)).astype(np.float32) * np.geomspace(1e-2, 1e2, 5)[None, :, None]
    x = x.astype(np.float32)
    codes, scale = quantize_columns(weight)
    row_scale = np.abs(x).max(-1, keepdims=True) / np.float32(127)
    expected = np.rint(x / row_scale) @ codes.astype(np.float64) * row_scale * scale + bias
    np.testing.assert_allclose(run(model, x), expected, rtol=1e-5, atol=1e-5)


def test_the_integer_sum_is_exact_at_the_largest_values() -> None:
    """Pairs of products beyond 16 bits saturate silently in the fast kernel of processors without VNNI."""
    signs = np.where(np.arange(WIDTH * OUT).reshape(WIDTH, OUT) % 7 < 5, 1, -1)
    weight = (signs * WEIGHT_LIMIT).astype(np.float32)
    model = make_model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight})
    quantize_rows(model)
    x = np.full((1, 9, WIDTH), 127, np.float32)
    x[0, ::2] *= -1
    np.testing.assert_array_equal(run(model, x), x @ weight)


def test_neighbours_do_not_reach_a_row(random: np.random.Generator) -> None:
    model, _, _ = linear(random)
    quantize_rows(model)
    x = random.standard_normal((1, 4, WIDTH)).astype(np.float32)
    alone = run(model, x)
    for neighbour in (1e6, 0.0, 1e-30):
        together = run(model, np.concatenate([np.full_like(x, neighbour), x]))
        np.testing.assert_array_equal(together[1], alone[0])


def test_rows_of_zeros_stay_finite(random: np.random.Generator) -> None:
    model, _, bias = linear(random)
    quantize_rows(model)
    result = run(model, np.zeros((1, 2, WIDTH), np.float32))
    np.testing.assert_array_equal(result, np.broadcast_to(bias, (1, 2, OUT)))


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("with_bias", [False, True])
def test_gemm_is_read_with_its_settings(random: np.random.Generator, transposed: int, with_bias: bool) -> None:
    weight = random.standard_normal((WIDTH, OUT)).astype(np.float32)
    bias = random.standard_normal(OUT).astype(np.float32)
    inputs = ["flat", "w", "b"] if with_bias else ["flat", "w"]
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["flat"]),
        helper.make_node("Gemm", inputs, ["y"], transB=transposed),
    ]
    shape = np.array([-1, WIDTH], np.int64)
    constants = {"w": weight.T.copy() if transposed else weight, "b": bias, "shape": shape}
    model = make_model(nodes, constants)
    x = random.standard_normal((2, 3, WIDTH)).astype(np.float32)
    exact = run(model, x)
    assert quantize_rows(model) == 1
    np.testing.assert_allclose(run(model, x), exact, atol=0.5)
    assert np.abs(run(model, x) - exact).max() > 0


def test_an_activation_is_rounded_once_for_several_products(random: np.random.Generator) -> None:
    weight = random.standard_normal((WIDTH, OUT)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("MatMul", ["x", "v"], ["z"])]
    model = make_model(nodes, {"w": weight, "v": -weight})
    assert quantize_rows(model) == 2
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph.node) == 1


@pytest.mark.parametrize("form", ["sub", "div", "bare"])
def test_raw_pixels_are_taken_as_they_are(random: np.random.Generator, form: str) -> None:
    weight = random.standard_normal((WIDTH, OUT)).astype(np.float32)
    steps = {
        "sub": [("Mul", 2 / 255), ("Sub", 1.0)],
        "div": [("Div", 255.0), ("Add", -0.5), ("Mul", 2.0)],
        "bare": [],
    }[form]
    nodes = [helper.make_node("Cast", ["x"], ["c0"], to=TensorProto.FLOAT)]
    constants = {"w": weight}
    for number, (operator, value) in enumerate(steps):
        constants[f"k{number}"] = np.array(value, np.float32)
        nodes.append(helper.make_node(operator, [f"c{number}", f"k{number}"], [f"c{number + 1}"]))
    nodes.append(helper.make_node("MatMul", [f"c{len(steps)}", "w"], ["y"]))
    model = make_model(nodes, constants, TensorProto.UINT8)
    x = random.integers(0, 256, (2, 3, WIDTH), dtype=np.uint8)
    codes, scale = quantize_columns(weight)
    normalised = x / 127.5 - 1 if form != "bare" else x.astype(np.float64)
    assert quantize_rows(model) == 1
    assert not any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    np.testing.assert_allclose(run(model, x), normalised @ (codes * scale.astype(np.float64)), rtol=1e-4, atol=1e-3)


def test_what_is_not_a_product_with_weights_stays(random: np.random.Generator) -> None:
    weight = random.standard_normal((WIDTH, OUT)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
    ]
    model = make_model(nodes, {"w": weight})
    assert quantize_rows(model, frozenset({"x"})) == 0
    assert quantize_rows(model) == 1
    assert sum(node.op_type == "MatMul" for node in model.graph.node) == 1


def test_gemm_with_factors_stays(random: np.random.Generator) -> None:
    weight = random.standard_normal((WIDTH, OUT)).astype(np.float32)
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["y"], alpha=0.5),
    ]
    model = make_model(nodes, {"w": weight, "shape": np.array([-1, WIDTH], np.int64)})
    assert quantize_rows(model) == 0


def test_replaced_weights_leave_the_graph(random: np.random.Generator) -> None:
    model, _, _ = linear(random)
    quantize_rows(model)
    names = {item.name for item in model.graph.initializer}
    assert "w" not in names
    assert "b" in names


@pytest.mark.parametrize("perm", [[1, 0], None])
def test_a_word_table_that_makes_logits_is_turned_on_its_way(
    random: np.random.Generator, perm: list[int] | None
) -> None:
    table = random.standard_normal((OUT, WIDTH)).astype(np.float32)
    turned = {} if perm is None else {"perm": perm}
    nodes = [helper.make_node("Transpose", ["t"], ["w"], **turned), helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = make_model(nodes, {"t": table})
    assert quantize_rows(model) == 1
    assert "Transpose" not in {node.op_type for node in model.graph.node}
    assert "t" not in {item.name for item in model.graph.initializer}
    x = random.standard_normal((2, 3, WIDTH)).astype(np.float32)
    assert np.abs(run(model, x) - x @ table.T).max() < 0.6  # of numbers around 8


def test_a_product_of_two_inputs_turned_is_left_alone(random: np.random.Generator) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["w"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    assert quantize_rows(make_model(nodes, {})) == 0
