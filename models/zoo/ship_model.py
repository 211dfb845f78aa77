"""Put a trained checkpoint into the zoo in place of the one before: half-size weights, and their proved graph.

Usage: python models/zoo/ship_model.py runs/scenes-vilt-vqa-scores/final scenes-vilt-vqa
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from vlp_models.checkpoints import load_checkpoint, save_checkpoint
from vlp_spec.found_deployment import deployment_versions, find_deployment
from vlp_spec.repository import RepositoryLayout
from vlp_zoo.paths import zoo_path


def ship(source: str, name: str) -> None:
    """Write zoo checkpoint and deployment `name` from the checkpoint directory `source`."""
    checkpoint, folder = load_checkpoint(source), zoo_path() / "checkpoints" / name
    shutil.rmtree(folder, ignore_errors=True)
    save_checkpoint(
        folder,
        checkpoint.model,
        tokenizer=checkpoint.tokenizer,
        labels=checkpoint.labels or None,
        image=checkpoint.image,
        storage="float16",
    )
    repository = zoo_path() / "repository"
    layout = RepositoryLayout(repository)
    for version in deployment_versions(repository, name):
        for graph in find_deployment(repository, f"{name}@{version}").deployment.graphs:
            shutil.rmtree(layout.graph_dir(graph.name))
    shutil.rmtree(repository / "deployments" / name, ignore_errors=True)
    command = [sys.executable, "-m", "vlp_cli", "export", str(folder), "--repository", str(repository)]
    subprocess.run([*command, "--name", name], check=True)
    (repository / ".lock").unlink()
    (repository / ".staging").rmdir()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="Checkpoint directory of a finished run.")
    parser.add_argument("name", help="Name in the zoo.")
    arguments = parser.parse_args()
    if Path(arguments.source).resolve().is_relative_to(zoo_path()):
        parser.error("the source lies in the zoo already")
    ship(arguments.source, arguments.name)


if __name__ == "__main__":
    main()
