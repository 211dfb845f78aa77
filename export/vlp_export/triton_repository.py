"""A whole Triton model repository from deployments: every graph, and a model for every task, in one of two flavours.

- "nvidia": graphs run in Triton's own backends (onnxruntime, tensorrt), as NVIDIA's image has them.
- "python": they run in the Python backend, for a server that has no other.

The flavours differ in config.pbtxt and model.py alone. It is written beside its place and renamed into it, whole. What
an earlier run wrote of other deployments stays as it is, with what an operator changed in it; whatever else was there
goes. Files of graphs are hard links where the file system allows it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from vlp_spec.deployment import Deployment, GraphRef
from vlp_spec.errors import ArtifactError
from vlp_spec.found_deployment import FoundDeployment
from vlp_spec.repository import CANARY_ASSET, PYTHON_MODEL_FILE, RepositoryLayout
from vlp_spec.triton_names import task_model_name

from vlp_export.triton_config import (
    CONFIG_FILE,
    BatchingConfig,
    GraphInterface,
    WarmUpInput,
    check_same_interface,
    render_config,
)
from vlp_export.triton_model import GRAPH_MODEL, TASK_MODEL
from vlp_export.triton_plan import TritonPlan, plan_repository
from vlp_export.triton_tasks import render_task_config

FLAVOURS = ("python", "nvidia")
_WARM_UP_DIR = "warmup"


@dataclass(frozen=True, slots=True)
class TritonOptions:
    """How a repository is written.

    Attributes:
        flavour: one of FLAVOURS.
        batching: of every graph.
        threads: inside one operator of a graph, or of a task's decoder, in the Python backend; 0 = every CPU.
    """

    flavour: str = "python"
    batching: BatchingConfig = BatchingConfig()
    threads: int = 0


def write_triton_repository(target: Path, found: Sequence[FoundDeployment], options: TritonOptions) -> list[str]:
    """Write `target`/model_repository and `target`/deployments.

    Args:
        target: deployments of earlier runs stay, unless `found` has some of their name; nothing else may lie in these
            two folders: they are replaced.
        found: deployments, of one or several repositories; several versions of one may be among them. The extractors
            that they read features of are added where they lie in the same repositories.

    Returns:
        names of the models that Triton then has.

    Raises:
        ArtifactError: two repositories have the same deployment or graph, a deployment is not whole, a graph cannot run
            in this flavour, the target is a repository that is read from, or what stays in it would lose something.
        OSError: the disk refused; what was there before is there still.
    """
    if options.flavour not in FLAVOURS:
        raise ArtifactError(f"flavour {options.flavour!r}: expected one of {', '.join(FLAVOURS)}")
    if target.resolve() in {one.layout.root.resolve() for one in found}:
        raise ArtifactError(f"{target}: holds the deployments themselves, and would be replaced; name another folder")
    plan = plan_repository(target, found)
    _check_unique((*plan.written, *plan.kept))
    target.mkdir(parents=True, exist_ok=True)
    staging = target / f".writing-{os.getpid()}"
    shutil.rmtree(staging, ignore_errors=True)
    layout = RepositoryLayout(staging)
    try:
        _write_deployments(layout, plan, options)
        _keep_deployments(layout, plan.kept)
        names = sorted(path.name for path in layout.graphs_dir.iterdir())
        _replace_trees(layout, RepositoryLayout(target))
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return names


def _write_deployments(layout: RepositoryLayout, plan: TritonPlan, options: TritonOptions) -> None:
    # Rising versions: warm-up files and config.pbtxt of a graph are those of its newest.
    for one in sorted(plan.written, key=lambda each: each.deployment.version):
        loaded = plan.loaded_versions(one.deployment.name, options.batching.kept_versions)
        own = replace(options, batching=replace(options.batching, kept_versions=loaded))
        for graph in one.deployment.graphs:
            _write_graph(layout, one, graph, own)
        _write_tasks(layout, one.deployment, own)
        _copy_deployment(layout, one)


def _keep_deployments(layout: RepositoryLayout, kept: Sequence[FoundDeployment]) -> None:
    """Take over whole folders, which belong to one deployment and hold all its versions."""
    folders: dict[Path, Path] = {}
    for one in kept:
        deployment = one.deployment
        tasks = [task_model_name(deployment.name, task) for task in deployment.tasks]
        for model in (*(graph.name for graph in deployment.graphs), *tasks):
            folders[one.layout.graph_dir(model)] = layout.graph_dir(model)
        folders[one.assets_dir.parent] = layout.assets(deployment.name, deployment.version).parent
    for source, place in folders.items():
        if not source.is_dir():
            raise ArtifactError(
                f"{source} is missing, and a deployment beside it needs it; write that one anew, or name another folder"
            )
        shutil.copytree(source, place, symlinks=True, copy_function=_link_or_copy)


def _check_unique(found: Sequence[FoundDeployment]) -> None:
    labels = [(one.deployment.name, one.deployment.version) for one in found]
    owners: dict[str, str] = {}
    for name, version in labels:
        if labels.count((name, version)) > 1:
            raise ArtifactError(f"deployment {name}@{version}: lies in two of the repositories; name one of them")
    for one in found:
        name = one.deployment.name
        models = {graph.name: f"a graph of {name}" for graph in one.deployment.graphs}
        models |= {task_model_name(name, task): f"a task of {name}" for task in one.deployment.tasks}
        for model, owner in models.items():
            if (other := owners.setdefault(model, owner)) != owner:
                raise ArtifactError(f"model {model}: is {other} and {owner}; Triton has one model of a name")


def _write_graph(layout: RepositoryLayout, found: FoundDeployment, graph: GraphRef, options: TritonOptions) -> None:
    folder = layout.graph_dir(graph.name)
    version = folder / str(graph.version)
    _copy_files(found, graph, folder)
    version.mkdir(exist_ok=True)
    backend, parameters = graph.backend, {}
    if options.flavour == "python":
        if graph.backend != "onnxruntime":
            raise ArtifactError(
                f"graph {graph.name}: made for the backend {graph.backend}, which the Python flavour cannot run"
            )
        backend = "python"
        parameters = {"deployment": found.deployment.name, "role": graph.role, "threads": str(options.threads)}
        (version / PYTHON_MODEL_FILE).write_text(GRAPH_MODEL, encoding="utf-8")
    interface = GraphInterface(graph.inputs, graph.outputs, _largest_batch(found))
    if (folder / CONFIG_FILE).is_file():
        check_same_interface((folder / CONFIG_FILE).read_text(encoding="utf-8"), interface, graph.name)
    warm_up = _write_warm_up(folder / _WARM_UP_DIR, found, graph)
    text = render_config(graph.name, backend, interface, options.batching, warm_up=warm_up, parameters=parameters)
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def _write_warm_up(folder: Path, found: FoundDeployment, graph: GraphRef) -> list[WarmUpInput]:
    """One row of the canary, a file an input; nothing where an input of it is empty."""
    try:
        with (found.assets_dir / CANARY_ASSET).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            rows = {spec.name: np.ascontiguousarray(arrays[f"input.{spec.name}"][0]) for spec in graph.inputs}
    except (OSError, ValueError, LookupError, EOFError, BadZipFile) as error:
        raise ArtifactError(f"{_label(found)}: {CANARY_ASSET} has no row for graph {graph.name} ({error!r})") from error
    if any(not row.size for row in rows.values()):
        return []
    folder.mkdir(exist_ok=True)
    inputs = []
    for number, spec in enumerate(graph.inputs):  # by number: what a graph calls an input need not be a file's name
        row = rows[spec.name]
        inputs.append(WarmUpInput(spec, row.shape, f"input-{number}"))
        (folder / inputs[-1].file).write_bytes(row.tobytes())
    return inputs


def _write_tasks(layout: RepositoryLayout, deployment: Deployment, options: TritonOptions) -> None:
    for task in deployment.tasks:
        folder = layout.graph_dir(task_model_name(deployment.name, task))
        version = folder / str(deployment.version)
        version.mkdir(parents=True)
        (version / PYTHON_MODEL_FILE).write_text(TASK_MODEL, encoding="utf-8")
        text = render_task_config(deployment.name, task, options.batching, threads=options.threads)
        (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def _copy_deployment(layout: RepositoryLayout, found: FoundDeployment) -> None:
    name, version = found.deployment.name, found.deployment.version
    assets = layout.assets(name, version)
    assets.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(found.assets_dir, assets)
    shutil.copy2(found.layout.manifest(name, version), layout.manifest(name, version))
    aliases = found.layout.manifest(name, version).parent / "aliases.json"
    if aliases.is_file():
        shutil.copy2(aliases, assets.parent / aliases.name)


def _copy_files(found: FoundDeployment, graph: GraphRef, folder: Path) -> None:
    """The files that the manifest lists, and no others: a model.py that is there is of another writing."""
    if not graph.files:
        raise ArtifactError(f"{_label(found)}: its manifest lists no file of graph {graph.name}")
    for name in graph.files:
        source, place = found.layout.graph_dir(graph.name) / name, folder / name
        if not source.is_file():
            raise ArtifactError(f"{_label(found)}: {source} is missing")
        place.parent.mkdir(parents=True, exist_ok=True)
        _link_or_copy(source.resolve(), place)


def _link_or_copy(source: str | Path, place: str | Path) -> None:
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)


def _largest_batch(found: FoundDeployment) -> int:
    if "batch" not in found.deployment.axes:
        raise ArtifactError(f"{_label(found)}: says of no batch how large it may be")
    return found.deployment.axes["batch"].max


def _replace_trees(staged: RepositoryLayout, target: RepositoryLayout) -> None:
    """Put both trees into their places, or leave both as they were. A tree cannot be renamed over another one."""
    renamed: list[tuple[Path, Path]] = []
    try:
        for new, place in (
            (staged.deployments_dir, target.deployments_dir),
            (staged.graphs_dir, target.graphs_dir),
        ):
            for source, goal in ((place, staged.root / f"old-{place.name}"), (new, place)):
                if source.exists():
                    os.rename(source, goal)
                    renamed.append((source, goal))
    except OSError:
        for source, goal in reversed(renamed):
            os.rename(goal, source)
        raise


def _label(found: FoundDeployment) -> str:
    return f"deployment {found.deployment.name}@{found.deployment.version}"
