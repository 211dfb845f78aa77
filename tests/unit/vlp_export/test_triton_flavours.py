"""Both flavours of a Triton repository: every config.pbtxt parses strictly, and nothing else but model.py differs."""

from dataclasses import replace

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton
from vlp_export.triton_repository import TritonOptions, write_triton_repository
from vlp_spec.errors import ArtifactError
from vlp_spec.found_deployment import deployment_names, find_deployment
from vlp_spec.repository import RepositoryLayout
from vlp_zoo import zoo_path

FLAVOURS = ("python", "nvidia")


@pytest.fixture(scope="module")
def shipped():
    repository = zoo_path() / "repository"
    return [find_deployment(repository, name) for name in deployment_names(repository)]


@pytest.fixture(scope="module")
def written(shipped, tmp_path_factory):
    root = tmp_path_factory.mktemp("flavours")
    for flavour in FLAVOURS:
        write_triton_repository(root / flavour, shipped, TritonOptions(flavour))
    return root


def configs(root):
    for path in sorted((root / "model_repository").glob("*/config.pbtxt")):
        yield path.parent, text_format.Parse(path.read_text(), triton.ModelConfig())


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_graphs_and_tasks_are_configured_as_meant(written, shipped, flavour):
    graphs = {ref.name: (one, ref) for one in shipped for ref in one.deployment.graphs}
    tasks = {f"{one.deployment.name}.{task}" for one in shipped for task in one.deployment.tasks}
    seen = set()
    for folder, config in configs(written / flavour):
        seen.add(folder.name)
        assert config.name == folder.name
        assert (folder / "1" / config.default_model_filename).is_file()
        assert config.version_policy.latest.num_versions == 2
        assert config.instance_group[0].count >= 1
        if folder.name in tasks:
            assert (config.backend, config.max_batch_size) == ("python", 0)
            assert config.model_transaction_policy.decoupled == folder.name.endswith(".caption")
            assert not config.response_cache.enable
            continue
        found, ref = graphs[folder.name]
        assert config.backend == ("python" if flavour == "python" else "onnxruntime")
        assert config.max_batch_size == found.deployment.axes["batch"].max
        assert [one.name for one in config.input] == [spec.name for spec in ref.inputs]
        queue = config.dynamic_batching.default_queue_policy
        assert queue.max_queue_size > 0
        assert queue.default_timeout_microseconds > 0
        assert config.dynamic_batching.max_queue_delay_microseconds > 0
        assert config.dynamic_batching.priority_levels == 2
        assert not config.response_cache.enable
        check_warm_up(folder, config)
    assert seen == tasks | set(graphs)


def check_warm_up(folder, config):
    sizes = {"TYPE_UINT8": 1, "TYPE_INT32": 4, "TYPE_FP32": 4}
    assert config.model_warmup
    for warm_up in config.model_warmup:
        assert 1 <= warm_up.batch_size <= config.max_batch_size
        assert set(warm_up.inputs) == {one.name for one in config.input}
        for given in warm_up.inputs.values():
            size = sizes[triton.DataType.Name(given.data_type)] * int(np.prod(given.dims))
            assert (folder / "warmup" / given.input_data_file).stat().st_size == size


def test_flavours_differ_in_configurations_and_model_files_alone(written):
    trees = [
        {
            path.relative_to(written / flavour): path.read_bytes()
            for path in (written / flavour).rglob("*.*")
            if path.is_file()
        }
        for flavour in FLAVOURS
    ]
    python, nvidia = trees
    differing = {path.name for path in python.keys() | nvidia.keys() if python.get(path) != nvidia.get(path)}
    assert differing == {"config.pbtxt", "model.py"}


def test_a_tensorrt_engine_has_its_own_backend_and_no_place_in_the_python_flavour(shipped, tmp_path):
    (vqa,) = (one for one in shipped if one.deployment.name == "scenes-vilt-vqa")
    (graph,) = vqa.deployment.graphs
    engine = replace(vqa, deployment=replace(vqa.deployment, graphs=(replace(graph, backend="tensorrt"),)))
    write_triton_repository(tmp_path, [engine], TritonOptions("nvidia"))
    found = {folder.name: config for folder, config in configs(tmp_path)}[graph.name]
    assert (found.backend, found.default_model_filename) == ("tensorrt", "model.plan")
    assert found.instance_group[0].kind == triton.ModelInstanceGroup.KIND_GPU
    with pytest.raises(ArtifactError, match="Python flavour"):
        write_triton_repository(tmp_path, [engine], TritonOptions("python"))
    assert RepositoryLayout(tmp_path).graph_dir(graph.name).is_dir()
    assert not list(tmp_path.glob(".writing-*"))
