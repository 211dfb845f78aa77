"""The TensorRT exporter against a module that knows the real API's names and parameters and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from tensorrt_standin import API, PLAN_MARK, Machine, make_tensorrt
from vlp_export import tensorrt_runner
from vlp_export.tensorrt_engine import EngineSettings, build_engine, load_tensorrt
from vlp_export.tensorrt_profile import ProfileShapes, profile_shapes
from vlp_export.tensorrt_runner import engine_runner
from vlp_models.evaluation.onnx_runner import Runner
from vlp_spec.deployment import AxisLimit
from vlp_spec.errors import ArtifactError
from vlp_spec.tensors import TensorSpec

INPUTS = (TensorSpec("patches", "uint8", ("batch", "patches", 3)), TensorSpec("grid", "int32", ("batch", 2)))
OUTPUTS = (TensorSpec("logits", "float32", ("batch", 2)),)
AXES = {"batch": AxisLimit(1, 2, 4), "patches": AxisLimit(1, 5, 9)}
PROFILE = profile_shapes(INPUTS, AXES)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """TensorRT "installed", on a GPU that is played by the CPU."""
    machine = Machine()
    monkeypatch.setitem(sys.modules, "tensorrt", make_tensorrt(machine))
    return machine


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = SimpleNamespace(wait_stream=lambda other: None, synchronize=lambda: None, cuda_stream=1234)
    monkeypatch.setattr(tensorrt_runner, "_cuda", lambda: torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """logits = grid as numbers + 0 * the sum of the patches."""
    nodes = [
        helper.make_node("Cast", ["patches"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["pixels"], ["sums"], keepdims=0, noop_with_empty_axes=0),
        helper.make_node("Cast", ["grid"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["numbers", "sums"], ["logits"]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "graph",
            [
                helper.make_tensor_value_info("patches", TensorProto.UINT8, ["batch", "patches", 3]),
                helper.make_tensor_value_info("grid", TensorProto.INT32, ["batch", 2]),
            ],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    path = tmp_path / "model.onnx"
    onnx.save(model, str(path))
    return path


def called(machine: Machine, label: str) -> list[tuple[Any, ...]]:
    return [args for name, args in machine.calls if name == label]


def test_profiles_come_from_the_axes() -> None:
    assert PROFILE["patches"] == ProfileShapes((1, 1, 3), (2, 5, 3), (4, 9, 3))
    assert PROFILE["grid"] == ProfileShapes((1, 2), (2, 2), (4, 2))
    with pytest.raises(ArtifactError, match="no limits for axis patches"):
        profile_shapes(INPUTS, {"batch": AXES["batch"]})
    with pytest.raises(ArtifactError, match="min <= opt <= max"):
        profile_shapes(INPUTS, {**AXES, "patches": AxisLimit(1, 10, 9)})


def test_an_engine_is_built_with_profile_precision_and_memory(machine: Machine, graph: Path) -> None:
    plan = build_engine(graph, PROFILE, EngineSettings("fp16", workspace_bytes=123))
    assert plan == PLAN_MARK + graph.read_bytes()
    shapes = {args[0]: args[1:] for args in called(machine, "IOptimizationProfile.set_shape")}
    assert shapes == {name: (item.min, item.opt, item.max) for name, item in PROFILE.items()}
    assert len(called(machine, "IBuilderConfig.add_optimization_profile")) == 1
    assert [flag.name for (flag,) in called(machine, "IBuilderConfig.set_flag")] == ["FP16"]
    ((pool, size),) = called(machine, "IBuilderConfig.set_memory_pool_limit")
    assert (pool.name, size) == ("WORKSPACE", 123)
    assert called(machine, "IBuilderConfig.set_timing_cache") == []


@pytest.mark.parametrize(("precision", "flags", "cleared"), [("bf16", ["BF16"], []), ("fp32", [], ["TF32"])])
def test_precisions_set_their_flag(
    machine: Machine, graph: Path, precision: str, flags: list[str], cleared: list[str]
) -> None:
    machine.has_fp16 = False
    build_engine(graph, PROFILE, EngineSettings(precision))
    assert [flag.name for (flag,) in called(machine, "IBuilderConfig.set_flag")] == flags
    assert [flag.name for (flag,) in called(machine, "IBuilderConfig.clear_flag")] == cleared


def test_a_gpu_without_fast_fp16_is_named(machine: Machine, graph: Path) -> None:
    machine.has_fp16 = False
    with pytest.raises(ArtifactError, match="no fast fp16"):
        build_engine(graph, PROFILE, EngineSettings("fp16"))


def test_every_complaint_of_the_parser_is_listed(machine: Machine, graph: Path) -> None:
    machine.parser_faults = [("/mod", "NonZero", "no importer"), ("", "If", "unequal branches")]
    with pytest.raises(ArtifactError, match=r"node /mod \(NonZero\): no importer\n.*node 7 \(If\): unequal branches"):
        build_engine(graph, PROFILE, EngineSettings())


def test_a_failed_build_and_foreign_inputs_are_named(machine: Machine, graph: Path) -> None:
    with pytest.raises(ArtifactError, match="graph inputs are"):
        build_engine(graph, {"patches": PROFILE["patches"]}, EngineSettings())
    machine.build_fails = True
    with pytest.raises(ArtifactError, match="could not build an engine"):
        build_engine(graph, PROFILE, EngineSettings())


def test_timings_are_kept_from_build_to_build(machine: Machine, graph: Path, tmp_path: Path) -> None:
    cache = tmp_path / "gpu" / "timings"
    settings = EngineSettings(timing_cache=cache)
    build_engine(graph, PROFILE, settings)
    assert cache.read_bytes() == b"+"
    build_engine(graph, PROFILE, settings)
    assert cache.read_bytes() == b"++"
    assert [ignore for _, ignore in called(machine, "IBuilderConfig.set_timing_cache")] == [False, False]
    machine.cache_matches = False
    build_engine(graph, PROFILE, settings)
    assert cache.read_bytes() == b"+"


def test_precisions_that_no_engine_has_are_refused() -> None:
    with pytest.raises(ArtifactError, match="MatMulInteger"):
        EngineSettings("int8")


def test_without_tensorrt_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ArtifactError, match=r"vlpserve\[export,tensorrt\]"):
        load_tensorrt()


def test_another_major_version_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", make_tensorrt(machine, "11.4.0"))
    with pytest.raises(ArtifactError, match=r"TensorRT 11\.4\.0 is installed, this exporter uses version 10"):
        load_tensorrt()


@pytest.fixture
def run(machine: Machine, cuda: None, graph: Path) -> Runner:
    return engine_runner(build_engine(graph, PROFILE, EngineSettings()), INPUTS, OUTPUTS)


def test_an_engine_runs_with_any_shape(run: Runner, machine: Machine) -> None:
    for batch, patches in ((1, 1), (3, 7)):
        feeds = {
            "patches": np.zeros((batch, patches, 3), np.uint8),
            "grid": np.arange(2 * batch, dtype=np.int32).reshape(batch, 2),
        }
        np.testing.assert_array_equal(run(feeds)["logits"], feeds["grid"].astype(np.float32))
    assert called(machine, "IExecutionContext.execute_async_v3") == [(1234,), (1234,)]


def test_a_run_that_fails_is_an_error(run: Runner, machine: Machine) -> None:
    feeds = {"patches": np.zeros((1, 1, 3), np.uint8), "grid": np.ones((1, 2), np.int32)}
    machine.run_fails = True
    with pytest.raises(ArtifactError, match="failed to run"):
        run(feeds)
    with pytest.raises(ArtifactError, match="outside its profile"):
        run({"unknown": feeds["grid"]})


def test_a_plan_that_cannot_be_loaded_is_an_error(machine: Machine, cuda: None) -> None:
    with pytest.raises(ArtifactError, match="cannot load the engine"):
        engine_runner(b"of another version", INPUTS, OUTPUTS)


def test_a_plan_with_another_interface_is_an_error(machine: Machine, cuda: None, graph: Path) -> None:
    plan = build_engine(graph, PROFILE, EngineSettings())
    with pytest.raises(ArtifactError, match="engine tensors are"):
        engine_runner(plan, INPUTS[:1], OUTPUTS)
    with pytest.raises(ArtifactError, match="engine tensors are"):
        engine_runner(plan, INPUTS, (TensorSpec("scores", "float32", ("batch", 2)),))


def test_without_a_gpu_the_error_says_so(machine: Machine, graph: Path) -> None:
    plan = build_engine(graph, PROFILE, EngineSettings())
    with pytest.raises(ArtifactError, match="torch sees no CUDA GPU"):
        engine_runner(plan, INPUTS, OUTPUTS)


def test_the_stand_in_fails_on_names_and_arguments_that_the_api_does_not_have(machine: Machine) -> None:
    trt = load_tensorrt()
    builder = trt.Builder(trt.Logger(trt.Logger.WARNING))
    for holder, name in ((trt, "init_everything"), (builder, "max_batch_size"), (trt.BuilderFlag, "FP64")):
        with pytest.raises(AttributeError):
            getattr(holder, name)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        builder.create_network(0, 1)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        trt.Builder()
    assert API["versions"] == ["10.3.0", "10.16.1.11"]
