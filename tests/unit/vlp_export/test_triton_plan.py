"""What a run keeps of a Triton repository that is there, and which extractors it adds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tiny_repository import publish, write_manifest
from tritonclient.grpc import model_config_pb2 as pb
from vlp_export.triton_config import BatchingConfig
from vlp_export.triton_repository import TritonOptions, write_triton_repository
from vlp_spec.encoder_digest import encoder_digest
from vlp_spec.errors import ArtifactError
from vlp_spec.found_deployment import FoundDeployment, deployment_versions, find_deployment, find_encoder

PYTHON = TritonOptions("python", BatchingConfig(kept_versions=2))
NVIDIA = TritonOptions("nvidia")


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def config(target: Path, model: str) -> Any:
    text = (target / "model_repository" / model / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, pb.ModelConfig())


def make(root: Path, name: str, version: int = 1, scale: float = 1.0) -> FoundDeployment:
    publish(root, name, version=version, scale=scale)
    return find_deployment(root, f"{name}@{version}")


def make_reader(root: Path, name: str, extractor: FoundDeployment, version: int = 1) -> FoundDeployment:
    """A deployment that reads the features of another one."""
    deployment = publish(root, name, version=version)
    named = {"extractor": extractor.deployment.name, "extractor_digest": encoder_digest(extractor.deployment)}
    write_manifest(root, deployment, image={**deployment.image, **named})
    return find_deployment(root, f"{name}@{version}")


def test_what_an_earlier_run_wrote_stays_with_what_was_changed_by_hand(tmp_path: Path) -> None:
    target = tmp_path / "target"
    earlier = [make(tmp_path / "a", "one"), make(tmp_path / "a", "one", 2, 2.0), make(tmp_path / "a", "two")]
    write_triton_repository(target, earlier, PYTHON)
    (target / "model_repository" / "one-fp32" / "config.pbtxt").write_text("# by hand")
    (target / "deployments" / "one" / "aliases.json").write_text('{"stable": 1}')
    before = tree(target)
    names = write_triton_repository(target, [make(tmp_path / "b", "three")], NVIDIA)
    assert names == ["one-fp32", "one.vqa", "three-fp32", "three.vqa", "two-fp32", "two.vqa"]
    after = tree(target)
    assert {name: after[name] for name in before} == before
    assert all("three" in name for name in after.keys() - before.keys())
    assert find_deployment(target, "one@stable").deployment.version == 1


def test_a_deployment_that_is_written_anew_has_the_versions_of_this_run(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write_triton_repository(target, [make(tmp_path / "a", "one"), make(tmp_path / "a", "two")], PYTHON)
    again = make(tmp_path / "b", "one", 2, 2.0)
    write_triton_repository(target, [again], PYTHON)
    assert deployment_versions(target, "one") == [2]
    assert not (target / "model_repository" / "one-fp32" / "1").exists()
    assert deployment_versions(target, "two") == [1]


def test_what_stays_and_what_comes_cannot_be_one_model(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write_triton_repository(target, [make(tmp_path / "a", "one")], PYTHON)
    before = tree(target)
    other = make(tmp_path / "b", "two")
    root = tmp_path / "b" / "model_repository"
    (root / "two-fp32").rename(root / "one-fp32")
    write_manifest(tmp_path / "b", other.deployment, graphs=(replace(other.deployment.graphs[0], name="one-fp32"),))
    with pytest.raises(ArtifactError, match="model one-fp32: is a graph of two and a graph of one"):
        write_triton_repository(target, [find_deployment(tmp_path / "b", "two")], PYTHON)
    assert tree(target) == before


@pytest.mark.parametrize("part", ["model_repository/one-fp32", "model_repository/one.vqa"])
def test_what_stays_must_be_whole(tmp_path: Path, part: str) -> None:
    target = tmp_path / "target"
    write_triton_repository(target, [make(tmp_path / "a", "one")], PYTHON)
    (target / part).rename(tmp_path / "gone")
    before = tree(target)
    with pytest.raises(ArtifactError, match="is missing, and a deployment beside it needs it"):
        write_triton_repository(target, [make(tmp_path / "b", "two")], PYTHON)
    assert tree(target) == before


def test_an_older_extractor_is_written_where_it_is_read_and_loaded_there(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    oldest, *newer = [make(source, "eyes", version, float(version)) for version in (1, 2, 3, 4)]
    readers = [make_reader(source, "reader", oldest), make_reader(source, "reader", newer[-1], version=2)]
    write_triton_repository(target, [*newer[-2:], *readers], PYTHON)
    assert deployment_versions(target, "eyes") == [1, 3, 4]
    assert find_encoder(target, "eyes", encoder_digest(oldest.deployment)) is not None
    for model in ("eyes-fp32", "eyes.vqa"):
        assert (target / "model_repository" / model / "1" / "model.py").is_file()
        assert config(target, model).version_policy.latest.num_versions == 3
    assert config(target, "reader-fp32").version_policy.latest.num_versions == 2


def test_an_extractor_of_a_new_version_that_came_out_the_same_serves_as_well(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    old, new = make(source, "eyes"), make(source, "eyes", 2)
    write_triton_repository(target, [new, make_reader(source, "reader", old)], PYTHON)
    assert deployment_versions(target, "eyes") == [2]
    assert config(target, "eyes-fp32").version_policy.latest.num_versions == 2


def test_what_stays_keeps_its_extractor_though_a_newer_one_is_written(tmp_path: Path) -> None:
    target = tmp_path / "target"
    old = make(tmp_path / "a", "eyes")
    write_triton_repository(target, [old, make_reader(tmp_path / "a", "reader", old)], PYTHON)
    newer = [make(tmp_path / "b", "eyes", version, float(version)) for version in (2, 3)]
    write_triton_repository(target, newer, PYTHON)
    assert deployment_versions(target, "eyes") == [1, 2, 3]
    assert config(target, "eyes-fp32").version_policy.latest.num_versions == 3
    assert (target / "model_repository" / "eyes-fp32" / "1" / "model.onnx").is_file()
    assert deployment_versions(target, "reader") == [1]


def test_an_extractor_that_something_reads_is_not_replaced_by_another_of_its_version(tmp_path: Path) -> None:
    target = tmp_path / "target"
    old = make(tmp_path / "a", "eyes")
    write_triton_repository(target, [old, make_reader(tmp_path / "a", "reader", old)], PYTHON)
    before = tree(target)
    with pytest.raises(ArtifactError, match=r"reader@1: lies in .* reads features of deployment eyes@1"):
        write_triton_repository(target, [make(tmp_path / "b", "eyes", 1, 2.0)], PYTHON)
    assert tree(target) == before
