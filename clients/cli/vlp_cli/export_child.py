"""Runs `vlpserve export` as a child process: the process that serves never holds torch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import click
from vlp_spec.errors import ArtifactError, ConfigError

_MODULE = "vlp_cli"
_NEEDED = ("torch", "transformers", "onnx")


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
                "pip install 'vlpserve[export]', or export it on another machine and name it with --repository"
            ]
        )
    click.echo(f"exporting {source} to {repository} (once; kept as {name!r})", err=True)
    repository.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", _MODULE, "export", source, "--task", "vqa", "--repository", str(repository)]
    # Its output goes where ours for people goes: standard output holds the line with the address, and nothing else.
    done = subprocess.run([*command, "--name", name], stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise ArtifactError(f"exporting {source!r} failed with exit code {done.returncode}; the reason is above")
