"""A graph in the Python backend, over a stand-in of its module and a real onnxruntime session."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from tiny_repository import PATCH_BYTES, WORDS, build_graph, publish, write_manifest
from triton_backend import Backend, Request, model_arguments
from vlp_server.engines.settings import EngineSettings
from vlp_server.triton import graph_model
from vlp_server.triton.graph_model import GraphModel
from vlp_spec.errors import ArtifactError
from vlp_spec.tensors import TensorSpec

PARAMETERS = {"deployment": "tiny", "role": "fusion", "threads": "1"}
FAILED = "inference_failed: the model failed on this item; the same input will fail again"


@pytest.fixture
def model(tmp_path: Path) -> Iterator[GraphModel]:
    publish(tmp_path)
    made = GraphModel(Backend())
    made.initialize(model_arguments(tmp_path, "tiny-fp32", **PARAMETERS))
    yield made
    made.finalize()


def request(*words: str, seed: int = 0) -> Request:
    """A row a word."""
    rows = len(words)
    return Request(
        {
            "patches": np.random.default_rng(seed).integers(0, 256, (rows, 4, PATCH_BYTES), np.uint8),
            "grid": np.full((rows, 2), 2, np.int32),
            "input_ids": np.array([[2, WORDS.index(word), 3] for word in words], np.int32),
            "text_mask": np.ones((rows, 3), np.int32),
        }
    )


def alone(one: Request) -> np.ndarray:
    session = onnxruntime.InferenceSession(build_graph(), providers=["CPUExecutionProvider"])
    return session.run(None, {name: tensor.as_numpy() for name, tensor in one.inputs().items()})[0]


def test_the_rows_of_several_requests_are_run_together_and_split_again(model: GraphModel) -> None:
    requests = [request("what", seed=1), request("colour", "is", "it", seed=2), request("red", "how", seed=3)]
    runs = []
    run = model._engine.run
    model._engine.run = lambda key, feeds: (runs.append(len(feeds["grid"])), run(key, feeds))[1]
    responses = model.execute(requests)
    assert runs == [6]
    for one, response in zip(requests, responses, strict=True):
        logits = response.arrays()["logits"]
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, alone(one), atol=1e-5)


@pytest.mark.parametrize("bad", ["broken", "outside"])  # NaN, and an exception
def test_a_row_that_makes_the_graph_fail_fails_its_own_request_alone(model: GraphModel, bad: str) -> None:
    requests = [request("what"), request("is", bad, "it"), request("red", "how"), request(bad), request("many")]
    responses = model.execute(requests)
    assert [response.has_error() for response in responses] == [False, True, False, True, False]
    assert [responses[index].fault() for index in (1, 3)] == [("INTERNAL", FAILED)] * 2
    for index in (0, 2, 4):
        np.testing.assert_allclose(responses[index].arrays()["logits"], alone(requests[index]), atol=1e-5)


def test_a_fault_of_ours_fails_all_and_says_nothing_of_itself(model: GraphModel) -> None:
    model._engine.unload("fusion")
    responses = model.execute([request("what"), request("is")])
    assert [response.fault() for response in responses] == [
        ("INTERNAL", "internal: internal error; the server's log has the details")
    ] * 2


def test_one_number_an_item_goes_in_and_comes_out_as_such(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["count"], ["total"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["total", "one"], ["column"]),
        helper.make_node("Mul", ["x", "column"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "counted",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2]),
            helper.make_tensor_value_info("count", TensorProto.INT32, ["batch"]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2]),
            helper.make_tensor_value_info("total", TensorProto.FLOAT, ["batch"]),
        ],
        [helper.make_tensor("one", TensorProto.INT64, [1], [1])],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    deployment = publish(tmp_path, graph=content)
    ref = replace(
        deployment.graphs[0],
        inputs=(TensorSpec("x", "float32", ("batch", 2)), TensorSpec("count", "int32", ("batch",))),
        outputs=(TensorSpec("y", "float32", ("batch", 2)), TensorSpec("total", "float32", ("batch",))),
    )
    write_manifest(tmp_path, deployment, graphs=(ref,))
    model = GraphModel(Backend())
    model.initialize(model_arguments(tmp_path, "tiny-fp32", **PARAMETERS))
    x, count = np.array([[1, 2], [3, 4], [5, 6]], np.float32), np.array([1, 10, 100], np.int32)
    for shape in ((3,), (3, 1)):  # as Triton gives it, and as it travels
        first = Request({"x": x[:2], "count": count.reshape(shape)[:2]})
        second = Request({"x": x[2:], "count": count.reshape(shape)[2:]})
        one, two = (response.arrays() for response in model.execute([first, second]))
        np.testing.assert_array_equal(one["y"], [[1, 2], [30, 40]])
        np.testing.assert_array_equal(two["y"], [[500, 600]])
        np.testing.assert_array_equal(one["total"], [1, 10])
        np.testing.assert_array_equal(two["total"], [100])
    model.finalize()


def test_the_version_that_triton_loads_is_the_one_that_runs(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path, version=2, scale=-3.0)
    logits = []
    for version in (1, 2):
        model = GraphModel(Backend())
        model.initialize(model_arguments(tmp_path, "tiny-fp32", version, **PARAMETERS))
        (response,) = model.execute([request("what")])
        logits.append(response.arrays()["logits"])
        model.finalize()
    assert np.abs(logits[0] - logits[1]).max() > 0.1


@pytest.mark.parametrize(
    ("parameters", "version", "message"),
    [
        ({**PARAMETERS, "deployment": "other"}, 1, "model 'other'"),
        ({**PARAMETERS, "role": "decoder"}, 1, "no graph with role 'decoder'"),
        (PARAMETERS, 9, "no such version"),
    ],
)
def test_a_model_that_its_manifest_does_not_know_is_not_loaded(
    tmp_path: Path, parameters: dict[str, str], version: int, message: str
) -> None:
    publish(tmp_path)
    with pytest.raises(ArtifactError, match=message):
        GraphModel(Backend()).initialize(model_arguments(tmp_path, "tiny-fp32", version, **parameters))


def test_a_graph_that_is_not_what_its_manifest_says_is_not_loaded(tmp_path: Path) -> None:
    deployment = publish(tmp_path)
    ref = deployment.graphs[0]
    write_manifest(tmp_path, deployment, graphs=(replace(ref, inputs=ref.inputs[:-1]),))
    with pytest.raises(ArtifactError, match="input"):
        GraphModel(Backend()).initialize(model_arguments(tmp_path, "tiny-fp32", **PARAMETERS))


class Noted:
    """An engine that only notes how it was made."""

    made: EngineSettings

    def __init__(self, settings: EngineSettings) -> None:
        Noted.made = settings

    def load(self, graph: object) -> None:
        pass


@pytest.mark.parametrize(
    ("kind", "providers", "device"), [("CPU", ("cpu",), 0), ("GPU", ("cuda", "cpu"), 3), ("MODEL", ("cpu",), 0)]
)
def test_an_instance_computes_where_triton_placed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, providers: tuple[str, ...], device: int
) -> None:
    publish(tmp_path)
    monkeypatch.setattr(graph_model, "OnnxEngine", Noted)
    arguments = model_arguments(tmp_path, "tiny-fp32", kind=kind, **{**PARAMETERS, "threads": "5"})
    GraphModel(Backend()).initialize({**arguments, "model_instance_device_id": "3"})
    assert (Noted.made.providers, Noted.made.device_id, Noted.made.threads) == (providers, device, 5)
