"""Writing a Triton repository: whole or not at all, and nothing of where it comes from is changed."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tiny_repository import publish, write_manifest
from tritonclient.grpc import model_config_pb2 as pb
from vlp_export import triton_repository
from vlp_export.triton_repository import TritonOptions, write_triton_repository
from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError
from vlp_spec.found_deployment import FoundDeployment, find_deployment
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

NVIDIA = TritonOptions("nvidia")
PYTHON = TritonOptions("python")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    publish(tmp_path / "source")
    return tmp_path / "source"


def tiny(root: Path, reference: str = "tiny") -> FoundDeployment:
    return find_deployment(root, reference)


def config(target: Path, name: str) -> Any:
    text = (target / "model_repository" / name / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, pb.ModelConfig())


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def changed(root: Path, deployment: Deployment, **changes: Any) -> FoundDeployment:
    write_manifest(root, deployment, **changes)
    return find_deployment(root, f"{deployment.name}@{deployment.version}")


def test_it_holds_the_models_and_what_they_need(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "target"
    assert write_triton_repository(target, [tiny(source)], NVIDIA) == ["tiny-fp32", "tiny.vqa"]
    inputs = {f"model_repository/tiny-fp32/warmup/input-{number}" for number in range(4)}
    assert set(tree(target)) == inputs | {
        "model_repository/tiny-fp32/config.pbtxt",
        "model_repository/tiny-fp32/1/model.onnx",
        "model_repository/tiny.vqa/config.pbtxt",
        "model_repository/tiny.vqa/1/model.py",
        "deployments/tiny/1.json",
        "deployments/tiny/1/tokenizer.json",
        "deployments/tiny/1/labels.json",
        "deployments/tiny/1/canary.npz",
    }
    assert [path.name for path in target.iterdir() if path.name.startswith(".")] == []
    assert tiny(target).digest == tiny(source).digest


def test_several_versions_share_a_model_and_the_newest_warms_it_up(source: Path, tmp_path: Path) -> None:
    publish(source, version=2, scale=2.0)
    publish(source, version=10, scale=3.0)
    target = tmp_path / "target"
    found = [tiny(source, f"tiny@{version}") for version in (10, 1, 2)]
    assert write_triton_repository(target, found, PYTHON) == ["tiny-fp32", "tiny.vqa"]
    for version in (1, 2, 10):
        for model in ("tiny-fp32", "tiny.vqa"):
            assert (target / "model_repository" / model / str(version) / "model.py").is_file()
        assert tiny(target, f"tiny@{version}").digest == tiny(source, f"tiny@{version}").digest
    assert tiny(target).deployment.version == 10


def test_versions_and_aliases_may_come_from_two_repositories(source: Path, tmp_path: Path) -> None:
    (source / "deployments" / "tiny" / "aliases.json").write_text(json.dumps({"stable": 1}))
    publish(tmp_path / "other", version=2)
    publish(tmp_path / "other", "more")
    target = tmp_path / "target"
    found = [tiny(source), tiny(tmp_path / "other"), tiny(tmp_path / "other", "more")]
    names = write_triton_repository(target, found, NVIDIA)
    assert names == ["more-fp32", "more.vqa", "tiny-fp32", "tiny.vqa"]
    assert tiny(target, "tiny@stable").deployment.version == 1
    assert tiny(target, "tiny").deployment.version == 2


def test_one_deployment_cannot_come_from_two_repositories(source: Path, tmp_path: Path) -> None:
    publish(tmp_path / "other", scale=2.0)
    target = tmp_path / "target"
    with pytest.raises(ArtifactError, match="deployment tiny@1: lies in two of the repositories"):
        write_triton_repository(target, [tiny(source), tiny(tmp_path / "other")], NVIDIA)
    assert not target.exists()


def _other_interface(source: Path, other: Path) -> list[FoundDeployment]:
    deployment = publish(other, version=2)
    ref = deployment.graphs[0]
    graphs = (replace(ref, outputs=(TensorSpec("logits", "float32", ("batch", 7)),)),)
    return [tiny(source), changed(other, deployment, graphs=graphs)]


def _same_graph(source: Path, other: Path) -> list[FoundDeployment]:
    deployment = publish(other, "more", version=2)
    (other / "model_repository" / "more-fp32").rename(other / "model_repository" / "tiny-fp32")
    return [tiny(source), changed(other, deployment, graphs=(replace(deployment.graphs[0], name="tiny-fp32"),))]


def _graph_like_a_task(source: Path, other: Path) -> list[FoundDeployment]:
    deployment = publish(other, "more")
    (other / "model_repository" / "more-fp32").rename(other / "model_repository" / "tiny.vqa")
    return [tiny(source), changed(other, deployment, graphs=(replace(deployment.graphs[0], name="tiny.vqa"),))]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_other_interface, "graph tiny-fp32: its config.pbtxt stands for other inputs or outputs"),
        (_same_graph, "model tiny-fp32: is a graph of tiny and a graph of more"),
        (_graph_like_a_task, "model tiny.vqa: is a task of tiny and a graph of more"),
    ],
)
def test_what_triton_would_take_for_one_model_is_refused(
    source: Path, tmp_path: Path, make: Callable[[Path, Path], list[FoundDeployment]], message: str
) -> None:
    found = make(source, tmp_path / "other")
    with pytest.raises(ArtifactError, match=message):
        write_triton_repository(tmp_path / "target", found, NVIDIA)


def test_a_plan_runs_in_its_own_backend_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    deployment = publish(source)
    folder = source / "model_repository" / "tiny-fp32" / "1"
    (folder / "model.onnx").rename(folder / "model.plan")
    graphs = (replace(deployment.graphs[0], backend="tensorrt", files={"1/model.plan": "ab" * 32}),)
    found = changed(source, deployment, graphs=graphs)
    write_triton_repository(target, [found], NVIDIA)
    assert config(target, "tiny-fp32").backend == "tensorrt"
    before = tree(target)
    with pytest.raises(ArtifactError, match="made for the backend tensorrt, which the Python flavour cannot run"):
        write_triton_repository(target, [found], PYTHON)
    assert tree(target) == before


def test_an_unknown_flavour_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="flavour 'tensorflow': expected one of python, nvidia"):
        write_triton_repository(tmp_path / "target", [tiny(source)], TritonOptions("tensorflow"))


def test_what_was_there_before_goes_and_what_is_beside_it_stays(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    publish(tmp_path / "old", scale=2.0)
    write_triton_repository(target, [tiny(tmp_path / "old")], PYTHON)
    (target / "model_repository" / "tiny-fp32" / "leftover").touch()
    (target / "model_repository" / "nobody" / "1").mkdir(parents=True)
    (target / "notes.txt").write_text("mine")
    write_triton_repository(target, [tiny(source)], NVIDIA)
    fresh = tmp_path / "fresh"
    write_triton_repository(fresh, [tiny(source)], NVIDIA)
    assert tree(target) == {**tree(fresh), "notes.txt": b"mine"}
    assert {path.name for path in target.iterdir()} == {"model_repository", "deployments", "notes.txt"}


def _no_graph(root: Path) -> None:
    (root / "model_repository" / "tiny-fp32" / "1" / "model.onnx").unlink()


def _no_graph_folder(root: Path) -> None:
    (root / "model_repository").rename(root / "gone")


def _no_canary(root: Path) -> None:
    (root / "deployments" / "tiny" / "1" / "canary.npz").unlink()


def _broken_canary(root: Path) -> None:
    (root / "deployments" / "tiny" / "1" / "canary.npz").write_bytes(b"PK\x03\x04broken")


def _canary_of_objects(root: Path) -> None:
    np.savez(root / "deployments" / "tiny" / "1" / "canary.npz", **{"input.patches": np.array([{}])})


def _canary_of_another(root: Path) -> None:
    np.savez(root / "deployments" / "tiny" / "1" / "canary.npz", **{"input.other": np.zeros(3)})


def _canary_without_rows(root: Path) -> None:
    names = ("patches", "grid", "input_ids", "text_mask")
    arrays = {f"input.{name}": np.zeros((0, 2)) for name in names}
    np.savez(root / "deployments" / "tiny" / "1" / "canary.npz", **arrays)


def _no_files(root: Path) -> None:
    deployment = tiny(root).deployment
    write_manifest(root, deployment, graphs=(replace(deployment.graphs[0], files={}),))


def _no_batch(root: Path) -> None:
    deployment = tiny(root).deployment
    write_manifest(root, deployment, axes={name: deployment.axes[name] for name in ("text", "patches")})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_graph, r"deployment tiny@1: .*model\.onnx is missing"),
        (_no_graph_folder, r"deployment tiny@1: .*model\.onnx is missing"),
        (_no_canary, r"deployment tiny@1: canary\.npz has no row for graph tiny-fp32"),
        (_broken_canary, r"canary\.npz has no row"),
        (_canary_of_objects, r"canary\.npz has no row"),
        (_canary_of_another, r"canary\.npz has no row"),
        (_canary_without_rows, r"canary\.npz has no row"),
        (_no_files, "its manifest lists no file of graph tiny-fp32"),
        (_no_batch, "deployment tiny@1: says of no batch how large it may be"),
    ],
)
def test_a_deployment_that_is_not_whole_leaves_all_as_it_was(
    source: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    target = tmp_path / "target"
    write_triton_repository(target, [tiny(source)], PYTHON)
    before = tree(target)
    publish(source, "zzz")  # written already when the other one fails, or not yet
    spoil(source)
    with pytest.raises(ArtifactError, match=message):
        write_triton_repository(target, [tiny(source), tiny(source, "zzz")], PYTHON)
    assert tree(target) == before
    assert {path.name for path in target.iterdir()} == {"model_repository", "deployments"}


@pytest.mark.parametrize("there", ["something was there", "nothing was there"])
@pytest.mark.parametrize("failing", range(4))
def test_a_disk_that_refuses_leaves_all_as_it_was(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, failing: int
) -> None:
    target = tmp_path / "target"
    if there == "something was there":
        publish(tmp_path / "old", "old")
        write_triton_repository(target, [tiny(tmp_path / "old", "old")], PYTHON)
    else:
        target.mkdir()
        failing %= 2
    before, renames, rename = tree(target), iter(range(100)), os.rename

    def refuse(old: Path, new: Path) -> None:
        if next(renames) == failing:
            raise OSError(5, "Input/output error")
        rename(old, new)

    monkeypatch.setattr(triton_repository.os, "rename", refuse)
    with pytest.raises(OSError, match="Input/output"):
        write_triton_repository(target, [tiny(source)], NVIDIA)
    assert tree(target) == before
    assert not [path for path in target.iterdir() if path.name.startswith(".")]


def test_graphs_are_links_where_that_can_be(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    write_triton_repository(target, [tiny(source)], NVIDIA)
    place = "model_repository/tiny-fp32/1/model.onnx"
    assert (target / place).samefile(source / place)


def test_graphs_are_copies_where_it_cannot(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(triton_repository.os, "link", refuse)
    target = tmp_path / "target"
    write_triton_repository(target, [tiny(source)], NVIDIA)
    place = "model_repository/tiny-fp32/1/model.onnx"
    assert not (target / place).samefile(source / place)
    assert (target / place).read_bytes() == (source / place).read_bytes()


def test_a_graph_that_is_a_link_itself_is_followed(source: Path, tmp_path: Path) -> None:
    graph = source / "model_repository" / "tiny-fp32" / "1" / "model.onnx"
    content = graph.read_bytes()
    graph.rename(graph.with_name("blob"))
    graph.symlink_to("blob")  # as caches of downloads keep files
    target = tmp_path / "target"
    write_triton_repository(target, [tiny(source)], NVIDIA)
    written = target / "model_repository" / "tiny-fp32" / "1" / "model.onnx"
    assert not written.is_symlink()
    assert written.read_bytes() == content


def test_a_written_repository_can_be_written_anew_and_stays_as_it_is(source: Path, tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    write_triton_repository(one, [tiny(source)], PYTHON)
    model = one / "model_repository" / "tiny-fp32" / "1" / "model.py"
    model.write_text("# by hand")
    before = tree(one)
    write_triton_repository(two, [tiny(one)], PYTHON)
    write_triton_repository(three, [tiny(one)], NVIDIA)
    assert tree(one) == before
    assert "# by hand" not in (two / "model_repository" / "tiny-fp32" / "1" / "model.py").read_text()
    assert not (three / "model_repository" / "tiny-fp32" / "1" / "model.py").exists()


def test_the_deployments_themselves_are_not_replaced(source: Path, tmp_path: Path) -> None:
    publish(source, "other")
    before = tree(source)
    (tmp_path / "link").symlink_to(source)
    for target in (source, source / ".." / "source", tmp_path / "link"):
        with pytest.raises(ArtifactError, match="would be replaced; name another folder"):
            write_triton_repository(target, [tiny(source)], PYTHON)
    assert tree(source) == before


def test_an_input_without_a_row_means_no_warm_up(source: Path, tmp_path: Path) -> None:
    deployment = tiny(source).deployment
    path = source / "deployments" / "tiny" / "1" / "canary.npz"
    with np.load(path) as arrays:
        given = {name: arrays[name] for name in arrays.files}
    np.savez(path, **{**given, "input.patches": given["input.patches"][:, :0]})
    target = tmp_path / "target"
    write_triton_repository(target, [changed(source, deployment)], PYTHON)
    assert not config(target, "tiny-fp32").model_warmup
    assert not (target / "model_repository" / "tiny-fp32" / "warmup").exists()


@pytest.mark.parametrize("name", ["../../../../outside", "/outside", 'a"b', "a\\b", "a\nb", "onnx::Gather_0", "café"])
def test_whatever_a_graph_calls_its_inputs_stays_in_its_folder(source: Path, tmp_path: Path, name: str) -> None:
    deployment = tiny(source).deployment
    ref = deployment.graphs[0]
    graph = replace(ref, role=f"role {name}", inputs=(replace(ref.inputs[0], name=name), *ref.inputs[1:]))
    rows = {f"input.{spec.name}": np.zeros((1, 2), spec.dtype) for spec in graph.inputs}
    found = changed(source, deployment, graphs=(graph,))
    target = tmp_path / "target"
    with pytest.MonkeyPatch.context() as patch:
        # numpy itself cannot write every name.
        patch.setattr(triton_repository.np, "load", lambda *_, **__: _Arrays(rows))
        write_triton_repository(target, [found], PYTHON)
    written = config(target, "tiny-fp32")
    assert written.input[0].name == name
    assert set(written.model_warmup[0].inputs) == {spec.name for spec in graph.inputs}
    assert written.parameters["role"].string_value == f"role {name}"
    assert len(list((target / "model_repository" / "tiny-fp32" / "warmup").iterdir())) == 4
    assert not (tmp_path / "outside").exists()


class _Arrays(dict[str, np.ndarray]):
    def __enter__(self) -> "_Arrays":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_every_task_of_a_deployment_is_a_model(source: Path, tmp_path: Path) -> None:
    deployment = tiny(source).deployment
    found = changed(source, deployment, tasks=(Task.VQA, Task.CAPTION))
    names = write_triton_repository(tmp_path / "target", [found], PYTHON)
    assert names == ["tiny-fp32", "tiny.caption", "tiny.vqa"]
