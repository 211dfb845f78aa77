"""Every config.pbtxt that is written, as Triton reads it: of the shipped models and of a deployment for TensorRT."""

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tiny_repository import publish, write_manifest
from tritonclient.grpc import model_config_pb2 as pb
from vlp_export.triton_config import BatchingConfig
from vlp_export.triton_repository import FLAVOURS, TritonOptions, write_triton_repository
from vlp_server.core.deployments import verify_files
from vlp_spec.found_deployment import FoundDeployment, deployment_names, find_deployment
from vlp_spec.tasks import Task
from vlp_spec.triton_names import task_model_name
from vlp_zoo import zoo_path

TYPES = {
    "uint8": pb.TYPE_UINT8,
    "int32": pb.TYPE_INT32,
    "int64": pb.TYPE_INT64,
    "float16": pb.TYPE_FP16,
    "float32": pb.TYPE_FP32,
    "bool": pb.TYPE_BOOL,
}
PLAN = "for-tensorrt"
SHIPPED = deployment_names(zoo_path() / "repository")


def publish_plan(root: Path) -> FoundDeployment:
    """A deployment whose graph is a plan; nobody here can run it."""
    deployment = publish(root, PLAN)
    ref = deployment.graphs[0]
    folder = root / "model_repository" / ref.name / "1"
    (folder / "model.onnx").rename(folder / "model.plan")
    digest = hashlib.sha256((folder / "model.plan").read_bytes()).hexdigest()
    write_manifest(root, deployment, graphs=(replace(ref, backend="tensorrt", files={"1/model.plan": digest}),))
    return find_deployment(root, PLAN)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Flavour -> what was written: the shipped models, and where it can be, the plan."""
    root = tmp_path_factory.mktemp("triton")
    shipped = [find_deployment(zoo_path() / "repository", name) for name in SHIPPED]
    plan = publish_plan(root / "plan")
    for flavour in FLAVOURS:
        found = shipped if flavour == "python" else [*shipped, plan]
        options = TritonOptions(flavour, BatchingConfig(instances=2, max_queue_size=17, max_queue_delay_us=250), 3)
        names = write_triton_repository(root / flavour, found, options)
        assert names == sorted(path.name for path in (root / flavour / "model_repository").iterdir())
    return {flavour: root / flavour for flavour in FLAVOURS}


def read(folder: Path) -> Any:
    """Strict: an unknown field, or a value of a wrong type, is an error."""
    return text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), pb.ModelConfig())


CASES = [("python", name) for name in SHIPPED] + [("nvidia", name) for name in [*SHIPPED, PLAN]]


def parameters(config: Any) -> dict[str, str]:
    return {name: value.string_value for name, value in config.parameters.items()}


def test_a_repository_has_every_graph_and_every_task_and_nothing_else(trees: dict[str, Path]) -> None:
    for root in trees.values():
        found = [find_deployment(root, name) for name in deployment_names(root)]
        graphs = {graph.name for one in found for graph in one.deployment.graphs}
        tasks = {task_model_name(one.deployment.name, task) for one in found for task in one.deployment.tasks}
        assert {path.name for path in (root / "model_repository").iterdir()} == graphs | tasks
        assert {path.name for path in root.iterdir()} == {"model_repository", "deployments"}


@pytest.mark.parametrize(("flavour", "name"), CASES)
def test_what_is_written_is_whole(trees: dict[str, Path], flavour: str, name: str) -> None:
    verify_files(find_deployment(trees[flavour], name))


@pytest.mark.parametrize(("flavour", "name"), CASES)
def test_graphs_are_what_their_manifest_says(trees: dict[str, Path], flavour: str, name: str) -> None:
    found = find_deployment(trees[flavour], name)
    for graph in found.deployment.graphs:
        folder = found.layout.graph_dir(graph.name)
        config = read(folder)
        backend = "python" if flavour == "python" else graph.backend
        files = {"python": "model.py", "onnxruntime": "model.onnx", "tensorrt": "model.plan"}
        assert (config.name, config.backend, config.platform) == (folder.name, backend, "")
        assert config.default_model_filename == files[backend]
        assert (folder / str(graph.version) / config.default_model_filename).is_file()
        assert config.max_batch_size == found.deployment.axes["batch"].max > 0
        for specs, tensors in ((graph.inputs, config.input), (graph.outputs, config.output)):
            assert [tensor.name for tensor in tensors] == [spec.name for spec in specs]
            for spec, tensor in zip(specs, tensors, strict=True):
                dims = [dim if isinstance(dim, int) else -1 for dim in spec.shape[1:]]
                assert tensor.data_type == TYPES[spec.dtype]
                assert list(tensor.dims) == (dims or [1])
                assert tensor.HasField("reshape") is (not dims)
                assert list(tensor.reshape.shape) == []
        assert all(not tensor.optional for tensor in config.input)
        expected = {"deployment": name, "role": graph.role, "threads": "3"} if flavour == "python" else {}
        assert parameters(config) == expected


@pytest.mark.parametrize(("flavour", "name"), CASES)
def test_graphs_are_batched_within_bounds_and_warmed_up(trees: dict[str, Path], flavour: str, name: str) -> None:
    found = find_deployment(trees[flavour], name)
    for graph in found.deployment.graphs:
        config = read(found.layout.graph_dir(graph.name))
        kind = pb.ModelInstanceGroup.KIND_GPU if graph.backend == "tensorrt" else pb.ModelInstanceGroup.KIND_AUTO
        assert [(group.count, group.kind) for group in config.instance_group] == [(2, kind)]
        assert config.version_policy.latest.num_versions == 2
        batching = config.dynamic_batching
        assert batching.max_queue_delay_microseconds == 250
        assert (batching.priority_levels, batching.default_priority_level) == (2, 1)
        policy = batching.default_queue_policy
        assert policy.timeout_action == pb.ModelQueuePolicy.REJECT
        assert policy.allow_timeout_override
        assert policy.default_timeout_microseconds == 30_000_000
        assert policy.max_queue_size == 17
        assert not config.response_cache.enable
        assert not config.model_transaction_policy.decoupled
        _check_warm_up(found, graph, config)


def _check_warm_up(found: FoundDeployment, graph: Any, config: Any) -> None:
    folder = found.layout.graph_dir(graph.name)
    with np.load(found.assets_dir / "canary.npz") as arrays:
        rows = {spec.name: arrays[f"input.{spec.name}"][0] for spec in graph.inputs}
    if not all(row.size for row in rows.values()):
        assert not config.model_warmup
        assert not (folder / "warmup").exists()
        return
    assert [one.batch_size for one in config.model_warmup] == sorted({1, min(8, config.max_batch_size)})
    assert len({one.name for one in config.model_warmup}) == len(config.model_warmup)
    for one in config.model_warmup:
        assert set(one.inputs) == set(rows)
        for spec in graph.inputs:
            sample, row = one.inputs[spec.name], rows[spec.name]
            assert sample.data_type == TYPES[spec.dtype]
            assert list(sample.dims) == (list(row.shape) or [1])
            file = folder / "warmup" / sample.input_data_file
            assert file.stat().st_size == math.prod(sample.dims) * np.dtype(spec.dtype).itemsize
            assert file.read_bytes() == row.tobytes()


ANSWERS = [("answer", pb.TYPE_STRING, [-1]), ("result", pb.TYPE_STRING, [-1])]
OUTPUTS = {
    Task.EMBEDDINGS: [("embeddings", pb.TYPE_FP32, [-1, -1]), ("result", pb.TYPE_STRING, [-1])],
    Task.REGIONS: [("features", pb.TYPE_FP32, [-1, -1]), ("result", pb.TYPE_STRING, [-1])],
}
# name -> whether it may be left out
INPUTS = {
    Task.EMBEDDINGS: {"image": True, "text": True, "options": True},
    Task.REGIONS: {"image": False, "options": True},
    Task.CAPTION: {"image": False, "text": True, "options": True},
}
USUAL = {"image": False, "text": False, "options": True}


@pytest.mark.parametrize(("flavour", "name"), CASES)
def test_tasks_take_pictures_and_words(trees: dict[str, Path], flavour: str, name: str) -> None:
    found = find_deployment(trees[flavour], name)
    assert found.deployment.tasks
    for task in found.deployment.tasks:
        folder = found.layout.graph_dir(task_model_name(name, task))
        config = read(folder)
        assert (config.name, config.backend, config.default_model_filename) == (folder.name, "python", "model.py")
        assert (folder / str(found.deployment.version) / "model.py").is_file()
        assert config.max_batch_size == 0
        assert {tensor.name: tensor.optional for tensor in config.input} == INPUTS.get(task, USUAL)
        assert all(tensor.data_type == pb.TYPE_STRING for tensor in config.input)
        assert {tensor.name: list(tensor.dims) for tensor in config.input}["options"] == [1]
        outputs = [(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in config.output]
        assert outputs == OUTPUTS.get(task, ANSWERS)
        groups = [(group.count, group.kind) for group in config.instance_group]
        assert groups == [(1, pb.ModelInstanceGroup.KIND_CPU)]
        assert config.version_policy.latest.num_versions == 2
        assert parameters(config) == {"deployment": name, "task": str(task), "threads": "3"}
        # It takes every request at once, and cannot be warmed up before the graphs that it asks are there.
        assert not config.HasField("dynamic_batching")
        assert not config.model_warmup
        # A caption comes in pieces, and may be another one the next time.
        assert config.model_transaction_policy.decoupled is (task is Task.CAPTION)
        # Triton's cache would keep the error of a task, and give it again as a success without outputs.
        assert not config.response_cache.enable


def test_every_task_that_there_is_is_shipped_or_known_here(trees: dict[str, Path]) -> None:
    shipped = {task for name in SHIPPED for task in find_deployment(trees["nvidia"], name).deployment.tasks}
    assert set(Task) == shipped


def files(root: Path) -> dict[str, str]:
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items() if PLAN not in name}


def test_flavours_differ_in_configuration_and_model_file_alone(trees: dict[str, Path]) -> None:
    one, other = (files(root) for root in trees.values())
    different = {Path(name).name for name in set(one) | set(other) if one.get(name) != other.get(name)}
    assert different == {"config.pbtxt", "model.py"}
    assert len(one) > 50
