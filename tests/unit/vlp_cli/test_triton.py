"""`vlpserve triton` with a program in tritonserver's place; the real one runs in tests/contract/on_triton."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import vlp_cli.triton as command
from click.testing import CliRunner, Result
from vlp_cli.main import cli
from vlp_server.triton.launch import TritonInstallation
from vlp_spec.errors import ConfigError


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Back as they were: the command passes signals on to its child."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    model = tmp_path / "repository" / "model_repository" / "tiny-fp32"
    model.mkdir(parents=True)
    (model / "config.pbtxt").touch()
    return tmp_path / "repository"


def invoke(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str, *arguments: str) -> Result:
    binary = folder / "tritonserver"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    monkeypatch.setattr(command, "find_triton", lambda: TritonInstallation(binary, None))
    return CliRunner().invoke(cli, ["triton", *arguments])


def test_options_become_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: Path) -> None:
    options = ["--host", "0.0.0.0", "--http-port", "18000", "--cache-mib", "0", "--fixed", "--allow-partial"]
    script = f'echo "$@" > {tmp_path}/arguments'
    done = invoke(monkeypatch, tmp_path, script, str(repository), *options)
    assert done.exit_code == 0, done.output
    given = (tmp_path / "arguments").read_text().split()
    assert {
        f"--model-repository={repository}/model_repository",
        "--http-address=0.0.0.0",
        "--http-port=18000",
        "--grpc-port=8001",
        "--exit-on-error=false",
    } <= set(given)
    assert not [one for one in given if one.startswith(("--cache", "--model-control", "--load-model"))]


def test_a_relative_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: Path) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke(monkeypatch, tmp_path, f'echo "$@" > {tmp_path}/arguments', repository.name)
    assert done.exit_code == 0, done.output
    assert f"--model-repository={repository}/model_repository" in (tmp_path / "arguments").read_text().split()


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_its_end_is_tritons(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: Path, script: str, status: int
) -> None:
    assert invoke(monkeypatch, tmp_path, script, str(repository)).exit_code == status


def test_a_folder_without_models_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = invoke(monkeypatch, tmp_path, "exit 0", str(tmp_path))
    assert done.exit_code == 2
    assert f"{tmp_path}: no model_repository/ with models; vlpserve triton-repository writes one" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "missing: no model_repository/ with models"),
        (["file"], "Directory 'file' is a file."),
        ([], "Missing argument 'REPOSITORY'"),
        ([".", "--http-port", "0"], "0 is not in the range"),
        ([".", "--grpc-port", "70000"], "70000 is not in the range"),
        ([".", "--cache-mib", "-1"], "-1 is not in the range"),
    ],
)
def test_what_cannot_be_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    done = invoke(monkeypatch, tmp_path, "exit 0", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_machine_without_triton_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    def nowhere() -> TritonInstallation:
        raise ConfigError(["triton: no tritonserver here"])

    monkeypatch.setattr(command, "find_triton", nowhere)
    done = CliRunner().invoke(cli, ["triton", str(repository)])
    assert done.exit_code == 2
    assert "no tritonserver here" in done.stderr
