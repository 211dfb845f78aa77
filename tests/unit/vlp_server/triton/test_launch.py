"""Where tritonserver is found, and the command line that it gets."""

import importlib.util
import os
import re
import shutil
import sys
import sysconfig
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from vlp_export.triton_model import SITE_VARIABLE as WRITTEN_VARIABLE
from vlp_server.engines.triton_control import CONTROL_SECRET_VARIABLE
from vlp_server.triton import launch
from vlp_server.triton.launch import (
    SITE_VARIABLE,
    TritonInstallation,
    TritonLaunch,
    find_triton,
    triton_command,
    triton_environment,
)
from vlp_spec.errors import ArtifactError, ConfigError

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
STUB = "triton_python_backend_stub"


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(0o755)
    return path


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel's files, with stubs of this Python and another."""
    root = tmp_path / "pytriton" / "tritonserver"
    made(root / "bin" / "tritonserver")
    for name in (STUB, "libtriton_python.so", "triton_python_backend_utils.py"):
        made(root / "backends" / "python" / name)
    for version in (PYTHON, "2.7"):
        made(root / "python_backend_stubs" / version / STUB).write_text(version)
    made(root / "caches" / "local" / "libtritoncache_local.so")
    return root


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    models = tmp_path / "repository" / "model_repository"
    for name in ("tiny.vqa", "tiny-fp32"):
        made(models / name / "config.pbtxt")
    (models / "no-model").mkdir()
    return models.parent


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any tritonserver."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(launch, "_IMAGE_BINARY", tmp_path / "image" / "bin" / "tritonserver")
    monkeypatch.setattr(shutil, "which", lambda name: None)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return made(tmp_path / "image" / "bin" / "tritonserver")


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch, nowhere: None, tmp_path: Path) -> Path:
    binary = made(tmp_path / "path" / "tritonserver")
    monkeypatch.setattr(shutil, "which", {"tritonserver": str(binary)}.get)
    return binary


def with_wheel(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    spec = ModuleSpec("pytriton", None, is_package=True)
    spec.submodule_search_locations = [str(root.parent / "no-such-folder"), str(root.parent)]
    monkeypatch.setattr(importlib.util, "find_spec", {"pytriton": spec}.get)


def test_the_environments_wheel_goes_before_the_image_and_that_before_the_path(
    monkeypatch: pytest.MonkeyPatch, on_path: Path, image: Path, wheel: Path
) -> None:
    with_wheel(monkeypatch, wheel)
    assert find_triton() == TritonInstallation(wheel / "bin" / "tritonserver", wheel)
    (wheel / "bin" / "tritonserver").unlink()  # another package of this name
    assert find_triton() == TritonInstallation(image, None)
    image.unlink()
    assert find_triton() == TritonInstallation(on_path, None)


@pytest.mark.usefixtures("nowhere")
def test_without_one_it_is_said_how_to_get_one() -> None:
    with pytest.raises(ConfigError, match="no tritonserver here; .*nvidia-pytriton"):
        find_triton()


def test_the_command_line_of_the_image(repository: Path, tmp_path: Path) -> None:
    found = TritonInstallation(Path("/opt/tritonserver/bin/tritonserver"), None)
    options = TritonLaunch(
        repository=repository,
        host="0.0.0.0",
        http_port=1,
        grpc_port=2,
        metrics_port=3,
        explicit=True,
        control_secret="s3cr3t",
    )
    command = triton_command(options, found, tmp_path / "unused")
    assert command[0] == "/opt/tritonserver/bin/tritonserver"
    assert set(command[1:]) == {
        f"--model-repository={repository / 'model_repository'}",
        "--disable-auto-complete-config",
        "--http-address=0.0.0.0",
        "--http-port=1",
        "--grpc-address=0.0.0.0",
        "--grpc-port=2",
        "--metrics-address=0.0.0.0",
        "--metrics-port=3",
        "--exit-on-error=true",
        "--backend-config=python,shm-default-byte-size=4194304",
        "--exit-timeout-secs=30",
        "--grpc-http2-min-recv-ping-interval-without-data=10000",
        "--http-restricted-api=model-repository,shared-memory,trace,logging:vlpserve-control=s3cr3t",
        "--grpc-restricted-protocol=model-repository,shared-memory,trace,logging:vlpserve-control=s3cr3t",
        "--model-control-mode=explicit",
        "--load-model=tiny-fp32",
        "--load-model=tiny.vqa",
    }
    assert not (tmp_path / "unused").exists()


def test_what_may_be_chosen(repository: Path, tmp_path: Path) -> None:
    found = TritonInstallation(Path("tritonserver"), None)
    options = TritonLaunch(
        repository=repository,
        allow_partial=True,
        shared_memory_bytes=1024,
        log_verbose=True,
    )
    command = triton_command(options, found, tmp_path)
    assert {"--exit-on-error=false", "--log-verbose=1", "--http-address=127.0.0.1"} <= set(command)
    assert "--backend-config=python,shm-default-byte-size=1024" in command
    assert not [one for one in command if one.startswith(("--cache", "--load-model", "--model-control"))]


def test_nobody_manages_models_unless_that_is_asked_for_and_then_with_a_secret(
    repository: Path, tmp_path: Path
) -> None:
    found = TritonInstallation(Path("tritonserver"), None)
    fixed = [triton_command(TritonLaunch(repository=repository), found, tmp_path) for _ in range(2)]
    shut = [[one for one in command if "-restricted-" in one] for command in fixed]
    for http, grpc in shut:
        assert re.fullmatch("--http-restricted-api=shared-memory,trace,logging:vlpserve-control=[0-9a-f]{64}", http)
        assert grpc == http.replace("--http-restricted-api", "--grpc-restricted-protocol")
    assert shut[0] != shut[1]
    with pytest.raises(ConfigError, match="so --explicit needs a secret .*--control-secret-file") as caught:
        triton_command(TritonLaunch(repository=repository, explicit=True), found, tmp_path)
    assert CONTROL_SECRET_VARIABLE in caught.value.faults[0]
    assert "s3cr3t" not in repr(TritonLaunch(repository=repository, explicit=True, control_secret="s3cr3t"))


def test_the_wheels_backend_is_put_together_with_the_stub_of_this_python(
    repository: Path, wheel: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    found = TritonInstallation(wheel / "bin" / "tritonserver", wheel)
    command = triton_command(TritonLaunch(repository=repository), found, folder)
    (backends,) = [Path(one.partition("=")[2]) for one in command if one.startswith("--backend-directory=")]
    python = backends / "python"
    assert sorted(path.name for path in python.iterdir()) == [
        "libtriton_python.so",
        STUB,
        "triton_python_backend_utils.py",
    ]
    assert (python / STUB).read_text() == PYTHON
    assert (wheel / "backends" / "python" / STUB).read_text() == ""  # the wheel's own is as it was


def test_a_wheel_without_a_stub_for_this_python(repository: Path, wheel: Path, tmp_path: Path) -> None:
    (wheel / "python_backend_stubs" / PYTHON / STUB).unlink()
    with pytest.raises(ConfigError, match=f"no Python backend for Python {PYTHON}"):
        triton_command(TritonLaunch(repository=repository), TritonInstallation(wheel / "bin", wheel), tmp_path)


@pytest.mark.parametrize("content", ["nothing", "no models", "a model without a configuration", "a file"])
def test_a_repository_without_models(tmp_path: Path, content: str) -> None:
    models = tmp_path / "r" / "model_repository"
    if content == "no models":
        models.mkdir(parents=True)
    elif content == "a model without a configuration":
        made(models / "g" / "1" / "model.onnx")
    elif content == "a file":
        made(models)
    with pytest.raises(ArtifactError, match="no model_repository/ with models; vlpserve triton-repository writes one"):
        triton_command(TritonLaunch(repository=tmp_path / "r"), TritonInstallation(Path("t"), None), tmp_path)


def test_models_of_the_wheels_server_are_told_where_packages_are(wheel: Path) -> None:
    environ = {"HOME": "/home/x", SITE_VARIABLE: "old"}
    with_secret = {**environ, CONTROL_SECRET_VARIABLE: "s3cr3t"}
    made_of = triton_environment(environ, TritonInstallation(wheel / "bin", wheel))
    assert set(made_of[SITE_VARIABLE].split(os.pathsep)) == {
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
    }
    assert made_of["HOME"] == "/home/x"
    assert environ[SITE_VARIABLE] == "old"
    assert triton_environment(with_secret, TritonInstallation(Path("t"), None)) == environ
    assert triton_environment(with_secret, TritonInstallation(wheel / "bin", wheel)) == made_of


def test_an_activated_environment_does_not_lend_the_stubs_its_library(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlp_server.triton.launch._SYSTEM", tmp_path)
    found, environ = TritonInstallation(wheel / "bin", wheel), {"PATH": "/some/venv/bin:/bin"}
    assert triton_environment(environ, found)["PATH"] == environ["PATH"]
    library = tmp_path / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    library.mkdir(parents=True)
    (library / "os.py").touch()
    assert triton_environment(environ, found)["PATH"] == f"{tmp_path}/bin:/some/venv/bin:/bin"


def test_the_variable_is_the_one_that_written_models_read() -> None:
    assert SITE_VARIABLE == WRITTEN_VARIABLE
