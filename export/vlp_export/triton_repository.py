"""A whole Triton model repository from deployments: every graph, and a model for every task, in one of two flavours.

- "nvidia": graphs run in Triton's own backends (onnxruntime, tensorrt), as NVIDIA's image has them.
- "python": they run in the Python backend, for a server that has no other.

The flavours differ in config.pbtxt and model.py alone. It is written beside its place and renamed into it, whole; what
was there before goes. Files of graphs are hard links where the file system allows it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from vlp_spec.deployment import Deployment, GraphRef
from vlp_spec.errors import ArtifactError
from vlp_spec.found_deployment import FoundDeployment
from vlp_spec.repository import CANARY_ASSET, PYTHON_MODEL_FILE, RepositoryLayout

from vlp_export.triton_config import CONFIG_FILE, BatchingConfig, GraphInterface, WarmUpInput, render_config
from vlp_export.triton_model import GRAPH_MODEL, TASK_MODEL
from vlp_export.triton_tasks import render_task_config, task_model_name

FLAVOURS = ("python", "nvidia")
_WARM_UP_DIR = "warmup"


@dataclass(frozen=True, slots=True)
class TritonOptions:
    """How a repository is written.

    Attributes:
        flavour: one of FLAVOURS.
        batching: of every graph.
        threads: inside one operator of a graph in the Python backend; 0 = every CPU.
    """

    flavour: str = "python"
    batching: BatchingConfig = BatchingConfig()
    threads: int = 0


def write_triton_repository(target: Path, found: Sequence[FoundDeployment], options: TritonOptions) -> list[str]:
    """Write `target`/model_repository and `target`/deployments.

    Args:
        target: nothing else may lie in these two folders: they are replaced.
        found: deployments, of one or several repositories; several versions of one may be among them.

    Returns:
        names of the models that Triton then has.

    Raises:
        ArtifactError: two repositories have the same deployment or graph, or a graph cannot run in this flavour.
        OSError: the disk refused; what was there before is there still.
    """
    if options.flavour not in FLAVOURS:
        raise ArtifactError(f"flavour {options.flavour!r}: expected one of {', '.join(FLAVOURS)}")
    _check_unique(found)
    target.mkdir(parents=True, exist_ok=True)
    staging = target / f".writing-{os.getpid()}"
    shutil.rmtree(staging, ignore_errors=True)
    layout = RepositoryLayout(staging)
    try:
        # Rising versions: warm-up files and config.pbtxt of a graph are those of its newest.
        for one in sorted(found, key=lambda each: each.deployment.version):
            for graph in one.deployment.graphs:
                _write_graph(layout, one, graph, options)
            _write_tasks(layout, one.deployment, options)
            _copy_deployment(layout, one)
        names = sorted(path.name for path in layout.graphs_dir.iterdir())
        _replace_tree(layout.deployments_dir, target / layout.deployments_dir.name)
        _replace_tree(layout.graphs_dir, target / layout.graphs_dir.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return names


def _check_unique(found: Sequence[FoundDeployment]) -> None:
    labels = [(one.deployment.name, one.deployment.version) for one in found]
    owners: dict[tuple[str, int], str] = {}
    for name, version in labels:
        if labels.count((name, version)) > 1:
            raise ArtifactError(f"deployment {name}@{version}: lies in two of the repositories; name one of them")
    for one in found:
        for graph in one.deployment.graphs:
            owner = owners.setdefault((graph.name, graph.version), one.deployment.name)
            if owner != one.deployment.name:
                raise ArtifactError(f"graph {graph.name} version {graph.version}: of {owner} and {one.deployment.name}")


def _write_graph(layout: RepositoryLayout, found: FoundDeployment, graph: GraphRef, options: TritonOptions) -> None:
    folder = layout.graph_dir(graph.name)
    version = folder / str(graph.version)
    shutil.copytree(found.graph_dir(graph), version, copy_function=_link_or_copy)
    backend, parameters = graph.backend, {}
    if options.flavour == "python":
        if graph.backend != "onnxruntime":
            raise ArtifactError(
                f"graph {graph.name}: made for the backend {graph.backend}, which the Python flavour cannot run"
            )
        backend = "python"
        parameters = {"deployment": found.deployment.name, "role": graph.role, "threads": str(options.threads)}
        (version / PYTHON_MODEL_FILE).write_text(GRAPH_MODEL, encoding="utf-8")
    interface = GraphInterface(graph.inputs, graph.outputs, found.deployment.axes["batch"].max)
    warm_up = _write_warm_up(folder / _WARM_UP_DIR, found, graph)
    text = render_config(graph.name, backend, interface, options.batching, warm_up=warm_up, parameters=parameters)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def _write_warm_up(folder: Path, found: FoundDeployment, graph: GraphRef) -> list[WarmUpInput]:
    """One row of the canary, a file an input; nothing where an input of it is empty."""
    with np.load(found.assets_dir / CANARY_ASSET, allow_pickle=False) as arrays:
        rows = {spec.name: np.ascontiguousarray(arrays[f"input.{spec.name}"][0]) for spec in graph.inputs}
    if any(not row.size for row in rows.values()):
        return []
    folder.mkdir(exist_ok=True)
    for name, row in rows.items():
        (folder / name).write_bytes(row.tobytes())
    return [WarmUpInput(spec, rows[spec.name].shape, spec.name) for spec in graph.inputs]


def _write_tasks(layout: RepositoryLayout, deployment: Deployment, options: TritonOptions) -> None:
    batching = replace(options.batching, instances=1)
    for task in deployment.tasks:
        folder = layout.graph_dir(task_model_name(deployment.name, task))
        version = folder / str(deployment.version)
        version.mkdir(parents=True)
        (version / PYTHON_MODEL_FILE).write_text(TASK_MODEL, encoding="utf-8")
        (folder / CONFIG_FILE).write_text(render_task_config(deployment.name, task, batching), encoding="utf-8")


def _copy_deployment(layout: RepositoryLayout, found: FoundDeployment) -> None:
    name, version = found.deployment.name, found.deployment.version
    assets = layout.assets(name, version)
    assets.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(found.assets_dir, assets)
    shutil.copy2(found.layout.manifest(name, version), layout.manifest(name, version))
    aliases = found.layout.manifest(name, version).parent / "aliases.json"
    if aliases.is_file():
        shutil.copy2(aliases, assets.parent / aliases.name)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _replace_tree(new: Path, place: Path) -> None:
    """Put a tree into its place; a tree cannot be renamed over another one."""
    old = new.parent / f"old-{place.name}"
    if place.exists():
        os.rename(place, old)
    os.rename(new, place)
