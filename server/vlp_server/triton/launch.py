"""NVIDIA's tritonserver as a process over a repository: where it is found, and with which arguments it runs.

From its image it is /opt/tritonserver/bin/tritonserver. The wheel nvidia-pytriton carries the same binary with the
Python backend, and a stub for each version of Python, of which the right one has to stand beside the backend.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from vlp_spec.errors import ArtifactError, ConfigError
from vlp_spec.triton_names import SITE_VARIABLE

_IMAGE_BINARY = Path("/opt/tritonserver/bin/tritonserver")
_STUB = "triton_python_backend_stub"
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonLaunch:
    """How tritonserver is started.

    Attributes:
        repository: with model_repository/ and deployments/.
        host: address that all doors listen on.
        cache_bytes: of the response cache; 0: none.
        explicit: models are loaded and unloaded by callers; those of the repository are loaded at the start.
        allow_partial: whether models that cannot be loaded leave the others serving.
        shared_memory_bytes: what each Python model begins with for its tensors.
    """

    repository: Path
    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    cache_bytes: int = 32 * _MIB
    explicit: bool = True
    allow_partial: bool = False
    shared_memory_bytes: int = 4 * _MIB
    log_verbose: bool = False


@dataclass(frozen=True, slots=True)
class TritonInstallation:
    """A tritonserver that was found.

    Attributes:
        wheel: the folder of the wheel's files; None for one that brings its own backends.
    """

    binary: Path
    wheel: Path | None


def find_triton() -> TritonInstallation:
    """The tritonserver of this environment's wheel, else of NVIDIA's image, else on the PATH.

    Raises:
        ConfigError: there is none.
    """
    spec = importlib.util.find_spec("pytriton")
    for folder in spec.submodule_search_locations or [] if spec is not None else []:
        wheel = Path(folder) / "tritonserver"
        if (wheel / "bin" / "tritonserver").is_file():
            return TritonInstallation(wheel / "bin" / "tritonserver", wheel)
    on_path = shutil.which("tritonserver")
    for binary in (_IMAGE_BINARY, *([Path(on_path)] if on_path else [])):
        if binary.is_file():
            return TritonInstallation(binary, None)
    raise ConfigError(
        [
            "triton: no tritonserver here; run this in NVIDIA's image, or install the wheel that carries it: "
            "pip install --no-deps nvidia-pytriton (in a clone: make triton builds such an environment)"
        ]
    )


def triton_command(launch: TritonLaunch, found: TritonInstallation, folder: Path) -> list[str]:
    """The command line.

    Args:
        folder: an empty one that lives as long as the server; backends of the wheel are put together in it.

    Raises:
        ArtifactError: the repository has no models.
        ConfigError: the wheel has no stub for this Python.
    """
    models = launch.repository / "model_repository"
    names = (
        sorted(path.name for path in models.iterdir() if (path / "config.pbtxt").is_file()) if models.is_dir() else []
    )
    if not names:
        raise ArtifactError(
            f"{launch.repository}: no model_repository/ with models; vlpserve triton-repository writes one"
        )
    command = [
        str(found.binary),
        f"--model-repository={models}",
        "--disable-auto-complete-config",
        f"--http-address={launch.host}",
        f"--http-port={launch.http_port}",
        f"--grpc-address={launch.host}",
        f"--grpc-port={launch.grpc_port}",
        f"--metrics-address={launch.host}",
        f"--metrics-port={launch.metrics_port}",
        f"--exit-on-error={str(not launch.allow_partial).lower()}",
        f"--backend-config=python,shm-default-byte-size={launch.shared_memory_bytes}",
        "--exit-timeout-secs=30",
    ]
    if launch.cache_bytes:
        command.append(f"--cache-config=local,size={launch.cache_bytes}")
    if launch.explicit:
        command += ["--model-control-mode=explicit", *(f"--load-model={name}" for name in names)]
    if launch.log_verbose:
        command.append("--log-verbose=1")
    if found.wheel is not None:
        command += [
            f"--backend-directory={_backends(found.wheel, folder)}",
            f"--cache-directory={found.wheel / 'caches'}",
        ]
    return command


def triton_environment(environ: dict[str, str], found: TritonInstallation) -> dict[str, str]:
    """Variables of the process: the wheel's stubs do not read PYTHONPATH, so models are told where packages are."""
    if found.wheel is None:
        return environ
    return {**environ, SITE_VARIABLE: os.pathsep.join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})}


def _backends(wheel: Path, folder: Path) -> Path:
    """A folder with the Python backend and the stub of this Python, by links: the wheel's own may not be written."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = wheel / "python_backend_stubs" / version / _STUB
    if not stub.is_file():
        raise ConfigError([f"triton: nvidia-pytriton has no Python backend for Python {version}"])
    python = folder / "backends" / "python"
    python.mkdir(parents=True)
    for path in (wheel / "backends" / "python").iterdir():
        if path.name != _STUB:
            (python / path.name).symlink_to(path)
    (python / _STUB).symlink_to(stub)
    return python.parent
