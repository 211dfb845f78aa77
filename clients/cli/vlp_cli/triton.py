"""`vlpserve triton`: NVIDIA's tritonserver over a repository that `vlpserve triton-repository` wrote."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import click
from vlp_server.engines.triton_control import CONTROL_SECRET_VARIABLE, secret_of
from vlp_server.triton.launch import TritonLaunch, find_triton, triton_command, triton_environment

_PORT = click.IntRange(1, 65535)
_EXPLICIT_HELP = "Whether those who know the control secret may load and unload models, and so run code."
_SECRET_HELP = f"Holds the secret that --explicit needs; none: the variable {CONTROL_SECRET_VARIABLE}."


@click.command()
@click.argument("repository", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--http-port", type=_PORT, default=8000, show_default=True)
@click.option("--grpc-port", type=_PORT, default=8001, show_default=True)
@click.option("--metrics-port", type=_PORT, default=8002, show_default=True)
@click.option("--explicit/--fixed", default=False, show_default=True, help=_EXPLICIT_HELP)
@click.option("--control-secret-file", type=click.Path(path_type=Path, dir_okay=False), help=_SECRET_HELP)
@click.option("--allow-partial", is_flag=True, help="Serve on where a model cannot be loaded.")
@click.option("--verbose", is_flag=True, help="Triton's verbose log.")
def triton(repository: Path, host: str, control_secret_file: Path | None, **given: object) -> None:
    """Run NVIDIA's tritonserver over REPOSITORY, until a signal ends it.

    It is found in this environment's wheel nvidia-pytriton, in NVIDIA's image, or on the PATH.
    """
    child = _Child()
    ports = {name: int(str(given[name])) for name in ("http_port", "grpc_port", "metrics_port")}
    explicit = bool(given["explicit"])
    if control_secret_file is not None and not explicit:
        raise click.UsageError("--control-secret-file opens model control, which --fixed does not have; say --explicit")
    launch = TritonLaunch(
        repository=repository.absolute(),
        host=host,
        explicit=explicit,
        control_secret=secret_of(control_secret_file, os.environ) if explicit else None,
        allow_partial=bool(given["allow_partial"]),
        log_verbose=bool(given["verbose"]),
        **ports,
    )
    found = find_triton()
    with tempfile.TemporaryDirectory(prefix="vlpserve-triton-") as folder:
        command = triton_command(launch, found, Path(folder))
        status = child.run(command, triton_environment(dict(os.environ), found))
        raise SystemExit(status if status >= 0 else 128 - status)  # as a shell says that a signal ended it


class _Child:
    """A process that gets the signals of this one: also those that come before it is there."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: int | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda got, _: self._pass_on(got))

    def run(self, command: list[str], environ: dict[str, str]) -> int:
        """Start it, and wait for its end; its status as of Popen. Not started where a signal came before."""
        if self._early is not None:
            return -self._early
        self._process = subprocess.Popen(command, env=environ)
        if self._early is not None:
            self._process.send_signal(self._early)
        return self._process.wait()

    def _pass_on(self, number: int) -> None:
        if self._process is None:
            self._early = number
        else:
            self._process.send_signal(number)
