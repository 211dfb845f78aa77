"""A real `vlpserve serve` process: port 0, address from the ready file, log in a file that failures show."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

START_LIMIT_S = 60.0


class ServerProcess:
    """Starts in `with`, is ready inside, and is surely gone after it.

    Args:
        folder: for the ready file and the log.
        arguments: of `vlpserve serve`.
        python: interpreter of the environment that vlpserve is installed in.
        cwd: folder that it is started in; none: that of the tests.
        environment: added to a clean one.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        python: str = sys.executable,
        cwd: Path | None = None,
        **environment: str,
    ) -> None:
        self._python = python
        self._cwd = cwd
        self.collections = folder / "collections"
        self._ready_file = folder / "ready.json"
        self.log_file = folder / "server.log"
        self._arguments = arguments
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("VLPSERVE_")},
            "VLPSERVE_HTTP_PORT": "0",
            "VLPSERVE_GRPC_PORT": "0",
            "VLPSERVE_READY_FILE": str(self._ready_file),
            "VLPSERVE_COLLECTIONS_PLACE": str(self.collections),
            **environment,
        }

    def __enter__(self) -> Self:
        command = [self._python, "-m", "vlp_cli", "serve", *self._arguments]
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment, cwd=self._cwd)
        end = time.monotonic() + START_LIMIT_S
        while not self._ready_file.exists():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log}")
            if time.monotonic() > end:
                self._kill()
                raise AssertionError(f"the server was not ready in time:\n{self.log}")
            time.sleep(0.02)
        address = json.loads(self._ready_file.read_text())
        assert address["pid"] == self.process.pid
        self.port: int = address["http_port"]
        self.url = f"http://{address['http_host']}:{self.port}"
        self.grpc_url = f"grpc://{address['grpc_host']}:{address['grpc_port']}" if "grpc_port" in address else ""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill()

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        return self.process.wait(timeout=30)

    def _kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
