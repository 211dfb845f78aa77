from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb
from vlp_cli.main import cli
from vlp_spec.found_deployment import deployment_names, deployment_versions, find_deployment
from vlp_zoo import zoo_path

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))  # tests are imported one by one, not as packages

from tiny_repository import publish


@pytest.fixture
def source(tmp_path: Path) -> Path:
    publish(tmp_path / "source")
    return tmp_path / "source"


def write(target: Path, *arguments: object) -> Result:
    return CliRunner().invoke(cli, ["triton-repository", str(target), *map(str, arguments)])


def written(target: Path) -> list[str]:
    return sorted(path.name for path in (target / "model_repository").iterdir())


def test_it_says_what_it_wrote(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    done = write(target, "--repository", source)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"2 models in {target}/model_repository: tiny-fp32, tiny.vqa\n"


def test_without_a_repository_the_shipped_models_are_written(tmp_path: Path) -> None:
    done = write(tmp_path, "--model", "scenes-itm")
    assert done.exit_code == 0, done.output
    assert written(tmp_path) == ["scenes-itm-fp32", "scenes-itm.match"]
    assert find_deployment(tmp_path, "scenes-itm").digest == (
        find_deployment(zoo_path() / "repository", "scenes-itm").digest
    )


def test_a_chosen_model_brings_what_finds_its_regions(tmp_path: Path) -> None:
    done = write(tmp_path, "--model", "scenes-uniter-grounding")
    assert done.exit_code == 0, done.output
    assert deployment_names(tmp_path) == ["scenes-detector", "scenes-uniter-grounding"]


def test_several_repositories_and_the_newest_versions_of_each_model(source: Path, tmp_path: Path) -> None:
    for version in (2, 3, 11):
        publish(source, version=version)
    publish(tmp_path / "other", "more")
    target = tmp_path / "target"
    repositories = ["--repository", source, "--repository", tmp_path / "other"]
    assert write(target, *repositories).exit_code == 0
    assert {name: deployment_versions(target, name) for name in deployment_names(target)} == {
        "tiny": [3, 11],
        "more": [1],
    }
    assert write(target, *repositories, "--versions", 1, "--model", "tiny").exit_code == 0
    assert {name: deployment_versions(target, name) for name in deployment_names(target)} == {
        "tiny": [11],
        "more": [1],  # of the run before
    }


def test_options_are_in_the_configuration(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    options = ["--instances", 3, "--threads", 2, "--queue-size", 9, "--versions", 4]
    for flavour, backend in (("python", "python"), ("nvidia", "onnxruntime")):
        done = write(target, "--repository", source, "--flavour", flavour, *options)
        assert done.exit_code == 0, done.output
        text = (target / "model_repository" / "tiny-fp32" / "config.pbtxt").read_text(encoding="utf-8")
        config = text_format.Parse(text, pb.ModelConfig())
        assert config.backend == backend
        assert config.instance_group[0].count == 3
        assert config.dynamic_batching.default_queue_policy.max_queue_size == 9
        assert config.version_policy.latest.num_versions == 4
        if flavour == "python":
            assert config.parameters["threads"].string_value == "2"


def test_the_same_deployment_in_two_repositories_is_refused(source: Path, tmp_path: Path) -> None:
    publish(tmp_path / "other")
    done = write(tmp_path / "target", "--repository", source, "--repository", tmp_path / "other")
    assert done.exit_code == 2
    assert "deployment tiny@1: lies in two of the repositories" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["file"], "Directory 'file' is a file."),
        (["file/below"], "file/below: cannot be written: .*Not a directory"),
        (["target", "--repository", "missing"], "Directory 'missing' does not exist."),
        (["target", "--repository", "file"], "Directory 'file' is a file."),
        (["target", "--repository", "empty"], "no deployments in empty"),
        (["target", "--repository", "empty", "--model", "x"], "no deployment 'x' in empty; what is there: none"),
        (["target", "--repository", "source", "--model", "x"], "no deployment 'x' in source; what is there: tiny"),
        (["source", "--repository", "source"], "source: holds the deployments themselves, and would be replaced"),
        (["target", "--flavour", "tensorrt"], "'tensorrt' is not one of 'python', 'nvidia'"),
        (["target", "--versions", "0"], "0 is not in the range"),
        ([], "Missing argument 'TARGET'"),
    ],
)
def test_what_cannot_be_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(cli, ["triton-repository", *arguments])
    assert done.exit_code == 2
    assert re.search(message, " ".join(done.stderr.split()))
    assert not (tmp_path / "target" / "model_repository").exists()


def test_a_repository_that_is_broken_is_told_in_words(source: Path, tmp_path: Path) -> None:
    (source / "deployments" / "tiny" / "1.json").write_text("{")
    done = write(tmp_path / "target", "--repository", source)
    assert done.exit_code == 2
    assert "deployment manifest: not JSON" in done.stderr
