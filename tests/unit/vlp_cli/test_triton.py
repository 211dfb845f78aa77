"""`vlpserve triton` with a program in tritonserver's place; the real one runs in tests/contract/on_triton."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import vlp_cli.triton as command
from click.testing import CliRunner, Result
from vlp_cli.main import cli
from vlp_server.engines.triton_control import CONTROL_SECRET_VARIABLE
from vlp_server.triton.launch import TritonInstallation
from vlp_spec.errors import ConfigError

SECRET = "0123456789abcdef_-XYZ"


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
    options = ["--host", "0.0.0.0", "--http-port", "18000", "--fixed", "--allow-partial"]
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


@pytest.mark.parametrize("place", ["file", "variable"])
def test_a_secret_lets_models_be_managed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: Path, place: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    options = ["--control-secret-file", str(file)] if place == "file" else []
    monkeypatch.setenv(CONTROL_SECRET_VARIABLE, SECRET if place == "variable" else "another-secret-of-theirs")
    script = f'echo "$@" > {tmp_path}/arguments; env > {tmp_path}/environment'
    done = invoke(monkeypatch, tmp_path, script, str(repository), "--explicit", *options)
    assert done.exit_code == 0, done.output
    given = (tmp_path / "arguments").read_text().split()
    assert {"--model-control-mode=explicit", "--load-model=tiny-fp32"} <= set(given)
    assert f"--http-restricted-api=model-repository,shared-memory,trace,logging:vlpserve-control={SECRET}" in given
    assert CONTROL_SECRET_VARIABLE not in (tmp_path / "environment").read_text()


def test_without_a_secret_models_are_not_managed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: Path
) -> None:
    monkeypatch.delenv(CONTROL_SECRET_VARIABLE, raising=False)
    done = invoke(monkeypatch, tmp_path, f"touch {tmp_path}/started", str(repository), "--explicit")
    assert done.exit_code == 2
    assert "--explicit needs a secret" in done.stderr
    short = tmp_path / "short"
    short.write_text("password")
    for options in (["--control-secret-file", str(short)], ["--control-secret-file", str(tmp_path / "missing")]):
        done = invoke(monkeypatch, tmp_path, f"touch {tmp_path}/started", str(repository), "--explicit", *options)
        assert done.exit_code == 2
        assert options[1] in done.stderr
        assert "password" not in done.stderr
    assert not (tmp_path / "started").exists()


def test_a_signal_that_comes_while_it_is_started_reaches_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: Path
) -> None:
    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            signal.raise_signal(signal.SIGTERM)  # nobody has the new process in hand yet

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    assert invoke(monkeypatch, tmp_path, "exec sleep 20", str(repository)).exit_code == 143


def test_nothing_is_started_after_a_signal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: Path) -> None:
    def found(*_: object) -> list[str]:
        signal.raise_signal(signal.SIGTERM)
        return ["touch", str(tmp_path / "started")]

    monkeypatch.setattr(command, "triton_command", found)
    assert invoke(monkeypatch, tmp_path, "exit 0", str(repository)).exit_code == 143
    assert not (tmp_path / "started").exists()


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
