"""Runs `vlpserve export` as a child process: the process that serves never holds torch."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import click
from vlp_spec.errors import ArtifactError, ConfigError

_MODULE = "vlp_cli"
_NEEDED = ("torch", "transformers", "onnx")
_PR_SET_PDEATHSIG = 1


def export_checkpoint(source: str, name: str, repository: Path) -> None:
    """Export a checkpoint into a repository.

    Args:
        source: directory or hub id.
        name: of the deployment.
        repository: made where it does not exist.

    Raises:
        ConfigError: the export extra is not installed.
        ArtifactError: the export failed; its own words are on standard error.
    """
    if missing := [module for module in _NEEDED if importlib.util.find_spec(module) is None]:
        raise ConfigError(
            [
                f"models.serve: {source!r} is a checkpoint and must be exported first, which needs "
                f"{', '.join(missing)}; "
                "install vlpserve[export] (in a clone: make setup, and serve with .venv/bin/vlpserve), or export it on "
                "another machine and name it with --repository"
            ]
        )
    click.echo(f"exporting {source} to {repository} (once; kept as {name!r})", err=True)
    repository.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", _MODULE, "export", source, "--repository", str(repository)]
    # Its output goes where ours for people goes: standard output holds the line with the address, and nothing else.
    with _termination_as_exit():
        done = subprocess.run([*command, "--name", name], stdout=sys.stderr, check=False, preexec_fn=_dies_with_us())
    if done.returncode != 0:
        raise ArtifactError(f"exporting {source!r} failed with exit code {done.returncode}; the reason is above")


@contextlib.contextmanager
def _termination_as_exit() -> Iterator[None]:
    """Let SIGTERM end this process by an exception, on which `subprocess.run` kills the child."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _dies_with_us() -> Callable[[], None] | None:
    """What the child calls first, so that not even a SIGKILL of this process leaves it running; Linux alone has it."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it has died already
            os._exit(1)

    return ask_kernel
