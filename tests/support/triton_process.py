"""NVIDIA's tritonserver as a real process over a repository, on free ports; its log is what failures show."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

START_LIMIT_S = 120.0
_PYTHON = Path(__file__).parents[2] / ".venv-triton" / "bin" / "python"


def triton_python() -> Path:
    """The interpreter of the environment that holds tritonserver."""
    if not _PYTHON.is_file():
        raise AssertionError(f"{_PYTHON.parents[1]} is not there; `make .venv-triton/.built` makes it")
    return _PYTHON


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class TritonProcess:
    """Ready inside `with`, and surely gone after it. It can be killed, and started again on the same ports.

    Args:
        folder: for the log.
        repository: what `vlpserve triton-repository` wrote.
        arguments: further ones of `vlpserve triton`.
    """

    def __init__(self, folder: Path, repository: Path, *arguments: str) -> None:
        self.log_file = folder / "triton.log"
        self._repository = repository
        self._arguments = arguments
        self.http_port, self.grpc_port, self.metrics_port = free_ports(3)
        self.url = f"127.0.0.1:{self.grpc_port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and wait until all models are ready."""
        ports = {"http": self.http_port, "grpc": self.grpc_port, "metrics": self.metrics_port}
        command = [str(triton_python()), "-m", "vlp_cli", "triton", str(self._repository)]
        command += [f"--{name}-port={port}" for name, port in ports.items()]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self._arguments], stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + START_LIMIT_S
        while not self._answers("/v2/health/ready"):
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise AssertionError(
                    f"tritonserver did not start ({self.process.returncode}):\n{self.log_file.read_text()[-8000:]}"
                )
            time.sleep(0.05)

    def kill(self) -> None:
        """End it and its children at once, as a crash would."""
        if self.process.poll() is None:
            subprocess.run(["kill", "-9", "--", f"-{self.process.pid}"], check=False)
            self.process.wait(10)

    def stop(self) -> int:
        """End it as an operator would; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a counter of Triton's over all series with these labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        found = [line for line in lines if line.startswith(name + "{") and all(label in line for label in wanted)]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    def post(self, path: str, body: object) -> tuple[int, bytes]:
        """A POST of JSON to Triton's own HTTP door; status and body."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def _answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def write_repository(target: Path, repositories: Sequence[Path], *arguments: str) -> Path:
    """What `vlpserve triton-repository` writes; without repositories the shipped models."""
    command = [str(triton_python()), "-m", "vlp_cli", "triton-repository", str(target), *arguments]
    for repository in repositories:
        command += ["--repository", str(repository)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return target
