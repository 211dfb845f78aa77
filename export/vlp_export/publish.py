"""Put a proved deployment into a repository, whole or not at all.

Order: everything is written to a staging folder and synced; then, under the repository's lock, graph folders and assets
are renamed into place, and the manifest last, by one rename. A reader that sees the manifest sees all of it. A crash
before that leaves folders without a manifest, which the staging folder's journal names and the next export removes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vlp_spec.deployment import Deployment
from vlp_spec.deployment_json import dump_deployment
from vlp_spec.errors import ArtifactError
from vlp_spec.files import sync_path, write_synced
from vlp_spec.repository import RepositoryLayout

from vlp_export.staging import clean_leftovers, repository_lock, sync_tree, take_back, write_journal
from vlp_export.triton_config import CONFIG_FILE, GraphInterface, check_same_interface, render_config


@dataclass(frozen=True, slots=True)
class StagedGraph:
    """A graph that lies in a staging folder.

    Attributes:
        name: its future folder under model_repository/.
        backend: "onnxruntime" or "tensorrt".
        folder: holds what becomes the version folder (model.onnx or model.plan).
        interface: what config.pbtxt states.
    """

    name: str
    backend: str
    folder: Path
    interface: GraphInterface


@dataclass(frozen=True, slots=True)
class StagedDeployment:
    """A deployment that lies in a staging folder.

    Attributes:
        staging: the folder of `staging_folder`; graphs and assets lie below it.
        assets: holds what becomes the version's asset folder; not empty.
        manifest: makes the manifest once the version is known.
    """

    name: str
    staging: Path
    graphs: tuple[StagedGraph, ...]
    assets: Path
    manifest: Callable[[int], Deployment]


def publish(root: Path, staged: StagedDeployment, version: int | None = None) -> Deployment:
    """Publish a staged deployment under `version`, or the next free one.

    Args:
        root: the repository; made when it is not there.
        staged: on the same file system as `root`.
        version: 1 or more; None takes one more than the highest in use.

    Returns:
        The manifest as written.

    Raises:
        ArtifactError: the version exists, or a graph's config.pbtxt stands for another interface.
        OSError: the disk refused; nothing is published then.
    """
    layout = RepositoryLayout(root)
    for graph in staged.graphs:
        sync_tree(graph.folder)
    sync_tree(staged.assets)
    with repository_lock(root):
        clean_leftovers(root)
        number = _choose_version(layout, staged, version)
        _check_configs(layout, staged)
        deployment = staged.manifest(number)
        try:
            _move_into_place(layout, staged, number, deployment)
        except BaseException:
            # Under the lock: later, another export may have put its version beside what is taken back here.
            take_back(root, staged.staging)
            raise
    return deployment


def _move_into_place(layout: RepositoryLayout, staged: StagedDeployment, number: int, deployment: Deployment) -> None:
    manifest = layout.manifest(staged.name, number)
    moves = [_graph_move(layout, graph, staged.staging, number) for graph in staged.graphs]
    moves.append((staged.assets, layout.assets(staged.name, number)))
    draft = staged.staging / manifest.name
    write_synced(draft, dump_deployment(deployment))
    write_journal(layout.root, staged.staging, manifest, [target for _, target in moves])
    for source, target in moves:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(source, target)
        sync_path(target.parent)
    os.rename(draft, manifest)
    sync_path(manifest.parent)


def _graph_move(layout: RepositoryLayout, graph: StagedGraph, staging: Path, number: int) -> tuple[Path, Path]:
    """What to rename to what: a version folder, or a new graph's folder as a whole, so Triton sees no half of it."""
    target = layout.graph_dir(graph.name)
    if target.is_dir():
        return graph.folder, target / str(number)
    whole = staging / f"new-{graph.name}"
    whole.mkdir()
    write_synced(whole / CONFIG_FILE, render_config(graph.name, graph.backend, graph.interface))
    os.rename(graph.folder, whole / str(number))
    sync_path(whole)
    return whole, target


def _choose_version(layout: RepositoryLayout, staged: StagedDeployment, version: int | None) -> int:
    taken = _versions_in(layout.manifest(staged.name, 1).parent)
    for graph in staged.graphs:
        taken |= _versions_in(layout.graph_dir(graph.name))
    if version is None:
        return max(taken, default=0) + 1
    if version < 1:
        raise ArtifactError(f"version: got {version}, expected 1 or more")
    if version in taken:
        raise ArtifactError(f"{staged.name}@{version} exists already; leave the version out to take the next free one")
    return version


def _versions_in(folder: Path) -> set[int]:
    if not folder.is_dir():
        return set()
    stems = (path.name.removesuffix(".json") for path in folder.iterdir())
    return {int(stem) for stem in stems if stem.isascii() and stem.isdigit()}


def _check_configs(layout: RepositoryLayout, staged: StagedDeployment) -> None:
    for graph in staged.graphs:
        existing = layout.graph_dir(graph.name) / CONFIG_FILE
        if existing.parent.is_dir() and not existing.is_file():
            raise ArtifactError(f"graph {graph.name}: its folder has no {CONFIG_FILE}; remove it, or use --name")
        if existing.is_file():
            check_same_interface(existing.read_text(encoding="utf-8"), graph.interface, graph.name)
