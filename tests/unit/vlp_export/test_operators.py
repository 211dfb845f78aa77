from __future__ import annotations

import onnx
import pytest
from onnx import defs, helper
from vlp_export.onnx_graph import OPSET
from vlp_export.operators import INT8_OPERATORS, STANDARD_OPERATORS, check_operators
from vlp_spec.errors import ArtifactError


def model_of(*nodes: onnx.NodeProto, functions: list[onnx.FunctionProto] | None = None) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "graph", [], [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], functions=functions or [])


def test_every_allowed_operator_is_of_the_onnx_standard() -> None:
    known = {schema.name for schema in defs.get_all_schemas() if schema.domain == ""}
    assert known >= INT8_OPERATORS


def test_the_list_is_what_every_backend_reads() -> None:
    """Named in full: a longer list is a decision about TensorRT, not a side effect."""
    expected = (
        "Abs Add And ArgMax Cast Clip Concat Constant ConstantOfShape Conv Cos Div Einsum Equal Erf Exp "
        "Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm Greater GreaterOrEqual Identity "
        "LayerNormalization Less LessOrEqual Log MatMul Max Min Mod Mul Neg Not Or Pow Range Reciprocal "
        "ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Round Shape Sigmoid Sin Slice Softmax "
        "Split Sqrt Squeeze Sub Tanh Tile Transpose Unsqueeze Where"
    )
    assert set(expected.split()) == STANDARD_OPERATORS
    assert {"DequantizeLinear", "MatMulInteger", "QuantizeLinear"} == INT8_OPERATORS - STANDARD_OPERATORS


def test_foreign_operators_are_listed_with_their_count() -> None:
    model = model_of(
        helper.make_node("MatMul", ["a", "b"], ["c"]),
        helper.make_node("NonZero", ["c"], ["d"]),
        helper.make_node("NonZero", ["d"], ["e"]),
        helper.make_node("FusedMatMul", ["a", "b"], ["f"], domain="com.microsoft"),
    )
    with pytest.raises(ArtifactError, match=r"NonZero \(2\), com\.microsoft\.FusedMatMul \(1\)"):
        check_operators(model)


def test_subgraphs_and_functions_are_searched() -> None:
    inner = helper.make_graph([helper.make_node("Loop", [], ["x"])], "inner", [], [])
    branch = helper.make_node("Where", ["a"], ["b"], body=inner)
    with pytest.raises(ArtifactError, match="Loop"):
        check_operators(model_of(branch))
    function = helper.make_function(
        "local", "Fn", ["a"], ["b"], [helper.make_node("TopK", ["a"], ["b"])], [helper.make_opsetid("", OPSET)]
    )
    with pytest.raises(ArtifactError, match="TopK"):
        check_operators(model_of(functions=[function]))


def test_int8_operators_are_not_for_every_backend() -> None:
    model = model_of(helper.make_node("MatMulInteger", ["a", "b"], ["c"]))
    check_operators(model, INT8_OPERATORS)
    with pytest.raises(ArtifactError, match="MatMulInteger"):
        check_operators(model)
