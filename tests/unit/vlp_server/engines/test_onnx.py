from dataclasses import replace
from importlib import metadata

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper
from vlp_server.engines import onnx as onnx_engine
from vlp_server.engines import onnx_installation
from vlp_server.engines.base import LoadedGraph
from vlp_server.engines.onnx import OnnxEngine, build_session_options
from vlp_server.engines.onnx_memory import FIXED_BYTES, check_fits, estimate_load_bytes
from vlp_server.engines.settings import EngineSettings
from vlp_server.machine import usable_cpus
from vlp_spec.deployment import GraphRef
from vlp_spec.errors import ArtifactError, ConfigError, InternalError
from vlp_spec.tensors import TensorSpec


@pytest.fixture
def directory(tmp_path):
    """A graph that doubles: x float32 (batch, 3) -> y."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path


def loaded(directory, *, inputs=None, outputs=None, backend="onnxruntime"):
    inputs = inputs or (TensorSpec("x", "float32", ("batch", 3)),)
    outputs = outputs or (TensorSpec("y", "float32", ("batch", 3)),)
    return LoadedGraph("k", GraphRef("fusion", "double", 1, backend, {}, inputs, outputs), directory, {})


def make_engine(**settings):
    return OnnxEngine(EngineSettings(threads=1, **settings))


def test_runs_a_graph_and_forgets_it(directory):
    engine = make_engine()
    engine.load(loaded(directory))
    assert engine.ready("k")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(engine.run("k", {"x": x})["y"], 2 * x)
    engine.unload("k")
    assert not engine.ready("k")
    with pytest.raises(InternalError):
        engine.run("k", {"x": x})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inputs": (TensorSpec("z", "float32", ("batch", 3)),)}, "has inputs"),
        ({"inputs": (TensorSpec("x", "uint8", ("batch", 3)),)}, "'x' is tensor"),
        ({"inputs": (TensorSpec("x", "float32", ("batch", 4)),)}, "has shape"),
        ({"inputs": (TensorSpec("x", "float32", ("batch", "text")),)}, "has shape"),
        ({"inputs": (TensorSpec("x", "float32", ("batch", 3, 1)),)}, "has shape"),
        ({"outputs": (TensorSpec("y", "float32", ("batch", 4)),)}, "output 'y' has shape"),
        ({"outputs": (TensorSpec("logits", "float32", ("batch", 3)),)}, "has outputs"),
        ({"backend": "tensorrt"}, "made for backend"),
    ],
)
def test_a_graph_that_is_not_what_its_manifest_says_is_refused(directory, changed, message):
    with pytest.raises(ArtifactError, match=message):
        make_engine().load(loaded(directory, **changed))


def test_missing_and_broken_files_are_refused(directory, tmp_path_factory):
    with pytest.raises(ArtifactError, match="missing"):
        make_engine().load(loaded(tmp_path_factory.mktemp("empty")))
    (directory / "model.onnx").write_bytes(b"\x08\x01 broken")
    with pytest.raises(ArtifactError, match="cannot load"):
        make_engine().load(loaded(directory))


def test_a_provider_that_is_not_installed_is_a_configuration_fault(monkeypatch):
    monkeypatch.setattr(onnx_installation.onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ConfigError, match="provider 'cuda' is not in the installed onnxruntime"):
        make_engine(providers=("cuda", "cpu"))


def test_a_silent_fall_back_to_another_provider_is_refused(directory, monkeypatch):
    engine = make_engine()
    engine._providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]

    class FallenBack:
        def __init__(self, *_, **__):
            pass

        def get_providers(self):
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(onnx_engine.onnxruntime, "InferenceSession", FallenBack)
    with pytest.raises(ConfigError, match="asked for CUDAExecutionProvider"):
        engine.load(loaded(directory))


def test_two_onnxruntime_distributions_are_refused(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "1.0")
    with pytest.raises(ConfigError, match="both installed"):
        make_engine()


def test_what_does_not_fit_the_limit_is_refused_before_loading(directory):
    needed = estimate_load_bytes((directory / "model.onnx").stat().st_size)
    with pytest.raises(ArtifactError, match=r"expected to need \d+ MiB .* memory limit is 1 MiB"):
        make_engine(memory_limit_bytes=1024 * 1024).load(loaded(directory))
    make_engine(memory_limit_bytes=needed).load(loaded(directory))


def test_the_graphs_of_a_model_share_its_limit(directory):
    needed = estimate_load_bytes((directory / "model.onnx").stat().st_size)
    engine = make_engine(memory_limit_bytes=needed * 3 // 2)
    first, second = loaded(directory), replace(loaded(directory), key="other")
    engine.load(first)
    with pytest.raises(ArtifactError, match="MiB of the model's other graphs, its memory limit is"):
        engine.load(second)
    engine.load(first)
    engine.unload(first.key)
    engine.load(second)


def test_what_does_not_fit_the_machine_is_refused(directory, monkeypatch):
    class Memory:
        available = FIXED_BYTES - 1

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    with pytest.raises(ArtifactError, match="this machine has"):
        check_fits(directory, "double", 0)


def test_session_options_follow_the_settings():
    options = build_session_options(EngineSettings(threads=3, memory_arena=False))
    assert options.intra_op_num_threads == 3
    assert not options.enable_cpu_mem_arena
    assert not options.enable_mem_pattern
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    spinning = build_session_options(EngineSettings(spinning=True))
    assert spinning.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert spinning.intra_op_num_threads == usable_cpus()
