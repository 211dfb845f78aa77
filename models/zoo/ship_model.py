"""Put a trained checkpoint into the zoo in place of the one before: half-size weights, and their proved graph.

Usage: python models/zoo/ship_model.py runs/scenes-vilt-vqa-scores/final scenes-vilt-vqa
       python models/zoo/ship_model.py runs/scenes-detector/final scenes-detector
       python models/zoo/ship_model.py runs/scenes-uniter/final scenes-uniter --extractor NAME --task grounding
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from vlp_models.checkpoints import load_checkpoint, save_checkpoint
from vlp_models.checkpoints.faster_rcnn_directory import read_detector, save_detector
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_spec.found_deployment import deployment_versions, find_deployment
from vlp_spec.repository import RepositoryLayout
from vlp_zoo.paths import zoo_path


def ship(source: str, name: str, tasks: Sequence[str] = (), extractor: str | None = None) -> None:
    """Write zoo checkpoint `name` from the checkpoint directory `source`, and its deployments.

    Args:
        source: of a finished run.
        name: in the zoo.
        tasks: of a model with several heads; each becomes the deployment `name`-task. None: one deployment, `name`.
        extractor: shipped deployment that makes the region features that the model reads.
    """
    checkpoint, folder = load_checkpoint(source), zoo_path() / "checkpoints" / name
    shutil.rmtree(folder, ignore_errors=True)
    if isinstance(checkpoint.model, FasterRcnn):
        save_detector(folder, read_detector(Path(source)), storage="float16")
    else:
        save_checkpoint(
            folder,
            checkpoint.model,
            tokenizer=checkpoint.tokenizer,
            labels=checkpoint.labels or None,
            image=checkpoint.image,
            storage="float16",
        )
    repository = zoo_path() / "repository"
    for task in tasks or (None,):
        _export(folder, repository, name if task is None else f"{name}-{task}", task, extractor)
    (repository / ".lock").unlink()
    (repository / ".staging").rmdir()


def _export(folder: Path, repository: Path, name: str, task: str | None, extractor: str | None) -> None:
    layout = RepositoryLayout(repository)
    for version in deployment_versions(repository, name):
        for graph in find_deployment(repository, f"{name}@{version}").deployment.graphs:
            shutil.rmtree(layout.graph_dir(graph.name))
    shutil.rmtree(repository / "deployments" / name, ignore_errors=True)
    command = [sys.executable, "-m", "vlp_cli", "export", str(folder), "--repository", str(repository), "--name", name]
    command += [] if task is None else ["--task", task]
    command += [] if extractor is None else ["--extractor", extractor]
    subprocess.run(command, check=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="Checkpoint directory of a finished run.")
    parser.add_argument("name", help="Name in the zoo.")
    parser.add_argument("--task", action="append", default=[], dest="tasks", help="Of several heads; once for each.")
    parser.add_argument("--extractor", help="Shipped deployment that makes the region features.")
    arguments = parser.parse_args()
    if Path(arguments.source).resolve().is_relative_to(zoo_path()):
        parser.error("the source lies in the zoo already")
    ship(arguments.source, arguments.name, arguments.tasks, arguments.extractor)


if __name__ == "__main__":
    main()
