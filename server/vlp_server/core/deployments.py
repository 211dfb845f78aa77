"""Lets in only what is whole of a deployment that was found: digests right, proof holding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vlp_spec.deployment import GraphRef
from vlp_spec.errors import ArtifactError
from vlp_spec.files import file_digest
from vlp_spec.found_deployment import FoundDeployment
from vlp_spec.repository import CANARY_ASSET, PYTHON_MODEL_FILE


def verify_files(found: FoundDeployment, *, graphs_are_here: bool = True) -> None:
    """Check the proof, and every file of the deployment against its digest.

    Args:
        graphs_are_here: False where graphs lie with another process: their canaries must prove them then.

    Raises:
        ArtifactError: the proof does not hold, or a file is missing or was changed; names it.
    """
    deployment = found.deployment
    place = f"deployment {deployment.name}@{deployment.version}"
    if not deployment.proof.holds():
        raise ArtifactError(f"{place}: its proof does not hold; export the checkpoint again")
    for graph in deployment.graphs if graphs_are_here else ():
        _check_all_listed(found, graph, place)
        for file_name, digest in graph.files.items():
            shown = f"model_repository/{graph.name}/{file_name}"
            _verify(found.layout.graph_dir(graph.name), file_name, digest, f"{place}: {shown}")
    if CANARY_ASSET not in deployment.assets:
        raise ArtifactError(f"{place}: its manifest lists no {CANARY_ASSET}; export the checkpoint again")
    for file_name, digest in deployment.assets.items():
        shown = f"deployments/{deployment.name}/{deployment.version}/{file_name}"
        _verify(found.assets_dir, file_name, digest, f"{place}: {shown}")


def read_canary(found: FoundDeployment) -> dict[str, NDArray[np.generic]]:
    """The arrays of canary.npz: "input.<name>" and "output.<name>".

    Raises:
        ArtifactError: it is missing or cannot be read.
    """
    path = found.assets_dir / CANARY_ASSET
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError) as error:
        place = f"deployment {found.deployment.name}@{found.deployment.version}"
        raise ArtifactError(f"{place}: {CANARY_ASSET} cannot be read ({type(error).__name__})") from error


def _check_all_listed(found: FoundDeployment, graph: GraphRef, place: str) -> None:
    """An engine reads whatever lies beside the graph (external weights), so nothing unlisted may lie there."""
    root = found.layout.graph_dir(graph.name)
    there = {path.relative_to(root).as_posix() for path in found.graph_dir(graph).rglob("*") if path.is_file()}
    # Triton's own, which no graph is read from: the Python backend's way to it, compiled or not.
    model_file, compiled = f"{graph.version}/{PYTHON_MODEL_FILE}", f"{graph.version}/__pycache__/"
    unlisted = there - set(graph.files) - {model_file}
    if extra := sorted(name for name in unlisted if not name.startswith(compiled)):
        raise ArtifactError(f"{place}: model_repository/{graph.name}/{extra[0]}: not in the manifest")
    if not graph.files:
        raise ArtifactError(f"{place}: its manifest lists no file of graph {graph.name!r}")


def _verify(folder: Path, file_name: str, digest: str, shown: str) -> None:
    """Check one file; names that lead out of the folder were refused when the manifest was read."""
    path = folder / file_name
    if not path.is_file():
        raise ArtifactError(f"{shown}: missing")
    if (found := file_digest(path)) != digest:
        raise ArtifactError(f"{shown}: changed since it was published (sha256 {found[:12]}, expected {digest[:12]})")
