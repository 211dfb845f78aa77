"""`vlpserve triton`: NVIDIA's tritonserver over a repository that `vlpserve triton-repository` wrote."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import click
from vlp_server.triton.launch import TritonLaunch, find_triton, triton_command, triton_environment

_PORT = click.IntRange(1, 65535)


@click.command()
@click.argument("repository", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--http-port", type=_PORT, default=8000, show_default=True)
@click.option("--grpc-port", type=_PORT, default=8001, show_default=True)
@click.option("--metrics-port", type=_PORT, default=8002, show_default=True)
@click.option("--cache-mib", type=click.IntRange(0), default=32, show_default=True, help="Response cache; 0: none.")
@click.option("--explicit/--fixed", default=True, show_default=True, help="Whether callers may load and unload models.")
@click.option("--allow-partial", is_flag=True, help="Serve on where a model cannot be loaded.")
@click.option("--verbose", is_flag=True, help="Triton's verbose log.")
def triton(repository: Path, host: str, cache_mib: int, **given: object) -> None:
    """Run NVIDIA's tritonserver over REPOSITORY, until a signal ends it.

    It is found in this environment's wheel nvidia-pytriton, in NVIDIA's image, or on the PATH.
    """
    ports = {name: int(str(given[name])) for name in ("http_port", "grpc_port", "metrics_port")}
    launch = TritonLaunch(
        repository=repository.absolute(),
        host=host,
        cache_bytes=cache_mib * 1024 * 1024,
        explicit=bool(given["explicit"]),
        allow_partial=bool(given["allow_partial"]),
        log_verbose=bool(given["verbose"]),
        **ports,
    )
    found = find_triton()
    with tempfile.TemporaryDirectory(prefix="vlpserve-triton-") as folder:
        command = triton_command(launch, found, Path(folder))
        process = subprocess.Popen(command, env=triton_environment(dict(os.environ), found))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda got, _: process.send_signal(got))
        status = process.wait()
        raise SystemExit(status if status >= 0 else 128 - status)  # as a shell says that a signal ended it
