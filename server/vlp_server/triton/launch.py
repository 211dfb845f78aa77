"""NVIDIA's tritonserver as a process over a repository: where it is found, and with which arguments it runs.

From its image it is /opt/tritonserver/bin/tritonserver. The wheel nvidia-pytriton carries the same binary with the
Python backend, and a stub for each version of Python, of which the right one has to stand beside the backend.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from vlp_spec.errors import ArtifactError, ConfigError
from vlp_spec.triton_names import SITE_VARIABLE

from vlp_server.engines.triton_control import CONTROL_HEADER, CONTROL_SECRET_VARIABLE

_IMAGE_BINARY = Path("/opt/tritonserver/bin/tritonserver")
_SYSTEM = Path("/usr")
_STUB = "triton_python_backend_stub"
_MIB = 1024 * 1024
# Of the protocols of tritonserver, those that nobody needs who only asks models.
_SHUT = ("shared-memory", "trace", "logging")
_CONTROL = ("model-repository", *_SHUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonLaunch:
    """How tritonserver is started.

    Attributes:
        repository: with model_repository/ and deployments/.
        host: address that all doors listen on.
        explicit: models are loaded and unloaded by whoever knows the control secret, who may thereby run code there;
            those of the repository are loaded at the start. Otherwise nobody loads or unloads any.
        control_secret: what opens the protocols of control; needed where explicit, of no use elsewhere.
        allow_partial: whether models that cannot be loaded leave the others serving.
        shared_memory_bytes: what each Python model begins with for its tensors.
    """

    repository: Path
    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    explicit: bool = False
    control_secret: str | None = field(default=None, repr=False)
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
        ConfigError: the wheel has no stub for this Python, or models may be loaded and there is no secret.
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
        # Callers ping while a call is under way; by default Triton takes more than two in five minutes for an attack.
        "--grpc-http2-min-recv-ping-interval-without-data=10000",
    ]
    command += _restrictions(launch)
    if launch.explicit:
        command += ["--model-control-mode=explicit", *(f"--load-model={name}" for name in names)]
    if launch.log_verbose:
        command.append("--log-verbose=1")
    if found.wheel is not None:
        command.append(f"--backend-directory={_backends(found.wheel, folder)}")
    return command


def triton_environment(environ: dict[str, str], found: TritonInstallation) -> dict[str, str]:
    """Variables of the process: the wheel's stubs do not read PYTHONPATH, so models are told where packages are.

    They bring a Python of their own without its library, and would take that of the first python3 on the PATH, whose
    compiled modules may want a newer one: an activated environment. So the system's comes first, where it has one of
    this version. The secret is not among them: models' code has no use for it.
    """
    environ = {name: value for name, value in environ.items() if name != CONTROL_SECRET_VARIABLE}
    if found.wheel is None:
        return environ
    site = os.pathsep.join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    library = _SYSTEM / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "os.py"
    first = f"{_SYSTEM / 'bin'}{os.pathsep}" if library.is_file() else ""
    return {**environ, "PATH": first + environ.get("PATH", os.defpath), SITE_VARIABLE: site}


def _restrictions(launch: TritonLaunch) -> list[str]:
    """Arguments that shut protocols; where nobody manages models, to everybody: by a word that nobody is told."""
    secret = launch.control_secret if launch.explicit else secrets.token_hex(32)
    if secret is None:
        raise ConfigError(
            [
                "triton: whoever may load models there may run code there, so --explicit needs a secret (`openssl rand "
                f"-hex 32` makes one): name its file by --control-secret-file, or set {CONTROL_SECRET_VARIABLE}"
            ]
        )
    shut = f"{','.join(_CONTROL if launch.explicit else _SHUT)}:{CONTROL_HEADER}={secret}"
    return [f"--http-restricted-api={shut}", f"--grpc-restricted-protocol={shut}"]


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
