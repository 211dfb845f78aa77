"""Which model does a name mean: a deployment here, one that the package ships, or a checkpoint to be exported first."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlp_server.config import ModelTarget, ServerConfig
from vlp_server.config.server import DUMMY_ENGINE
from vlp_server.engines.dummy_deployment import DUMMY_NAMES
from vlp_spec.errors import ArtifactError, ConfigError, VlpError
from vlp_spec.found_deployment import deployment_names, deployment_versions, find_deployment, find_encoder
from vlp_spec.repository import RepositoryLayout
from vlp_zoo import zoo_path

from vlp_cli.export_child import export_checkpoint

Export = Callable[[str, str, Path], None]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class FoundModels:
    """What is to be served.

    Attributes:
        targets: in the order in which they were named.
        default: reference of the default model, None for the first one.
    """

    targets: tuple[ModelTarget, ...]
    default: str | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that is served through its export.

    Attributes:
        source: directory or hub id.
        name: of the deployment that it becomes.
    """

    source: str
    name: str


def find_models(config: ServerConfig, export: Export = export_checkpoint, zoo: Path | None = None) -> FoundModels:
    """Find every model that the configuration names; export the checkpoints among them.

    Args:
        config: the whole configuration; its store is filled in.
        export: checkpoint, deployment name, repository -> a deployment there.
        zoo: folder of the shipped models; None takes the package's.

    Raises:
        ConfigError: lists every name that means nothing; nothing has been exported then.
    """
    zoo = zoo_path() if zoo is None else zoo
    names = config.models.serve
    if config.engine.engine == DUMMY_ENGINE:
        dummies = tuple(ModelTarget(name, None) for name in names or (DUMMY_ENGINE,))
        return FoundModels(dummies, config.models.default)
    own = config.models.repository
    if own is not None and not own.is_dir():
        raise ConfigError([f"models.repository: {own} is no folder"])
    # A repository that is named is meant to be served; without one it is what the package ships.
    names = names or tuple(deployment_names(zoo / "repository" if own is None else own))
    if not names:
        where = "this installation ships no model" if own is None else f"there is no deployment in {own}"
        raise ConfigError([f"models.serve: nothing is named, and {where}"])
    if config.models.store is None:
        raise ConfigError(["models.store: not set; load the configuration with load_config"])
    store = config.models.store
    repositories = [path for path in (config.models.repository, zoo / "repository", store) if path is not None]
    found: dict[str, ModelTarget | Checkpoint] = {}
    faults: list[str] = []
    for name in names:
        source = _find(name, repositories, zoo)
        if source is None:
            faults.append(_unknown(name, repositories))
        else:
            found[name] = source
    if faults:
        raise ConfigError(faults)
    targets = {name: _as_target(source, store, export) for name, source in found.items()}
    default = config.models.default
    chosen = tuple(targets.values())
    return FoundModels((*chosen, *_extractors(chosen)), targets[default].reference if default in targets else default)


def _extractors(targets: Sequence[ModelTarget]) -> list[ModelTarget]:
    """What makes the region features of the models that were named, where it lies beside them and was not named too.

    In the version whose features they read; where they read different ones, that of the first.
    """
    wanted: dict[str, ModelTarget] = {}
    for target in targets:
        if target.repository is None:
            continue
        try:
            image = find_deployment(target.repository, target.reference).deployment.image
            name, digest = (str(image.get(key, "")) for key in ("extractor", "extractor_digest"))
            found = find_encoder(target.repository, name, digest) if name else None
        except ArtifactError:  # serving it will say what is the matter
            continue
        if found is not None:
            newest = deployment_versions(target.repository, name)[-1] == found.deployment.version
            reference = name if newest else f"{name}@{found.deployment.version}"
            wanted.setdefault(name, ModelTarget(reference, target.repository))
    named = {target.reference.partition("@")[0] for target in targets}
    return [target for name, target in wanted.items() if name not in named]


def _find(name: str, repositories: Sequence[Path], zoo: Path) -> ModelTarget | Checkpoint | None:
    if name in DUMMY_NAMES:
        return ModelTarget(name, None)
    bare = name.partition("@")[0]
    for repository in repositories:
        if bare in deployment_names(repository):
            return ModelTarget(name, repository)
    if "/" not in name and (zoo / "checkpoints" / name).is_dir():
        return Checkpoint(str(zoo / "checkpoints" / name), name)
    path = Path(name).expanduser()
    if path.is_dir():
        return Checkpoint(str(path.resolve()), _deployment_name(path.resolve().name))
    if _HUB_ID.fullmatch(name):
        return Checkpoint(name, _deployment_name(name.rpartition("/")[2]))
    return None


def _as_target(source: ModelTarget | Checkpoint, store: Path, export: Export) -> ModelTarget:
    """The deployment of a checkpoint, exported where the store has none that is up to date."""
    if isinstance(source, ModelTarget):
        return source
    manifest = _latest_manifest(store, source.name)
    if manifest is not None and (kept := _kept_source(store, source.name)) != source.source:
        origin = repr(kept) if kept is not None else "exported by hand"
        raise ConfigError(
            [
                f"models.serve: {source.source!r} would be kept as {source.name!r}, and {store} has one of that name "
                f"({origin}); serve that one by its name, or export this one under another: "
                f"vlpserve export {source.source} --repository {store} --name NAME"
            ]
        )
    if manifest is None or _newest_change(Path(source.source)) > manifest.stat().st_mtime:
        _export_and_note(source, store, export)
    return ModelTarget(source.name, store)


def _export_and_note(source: Checkpoint, store: Path, export: Export) -> None:
    """The note comes first: whenever this process is killed, a deployment that is there is known for what it is. A note
    without a deployment says nothing.
    """
    _note_source(store, source)
    try:
        export(source.source, source.name, store)
        if _latest_manifest(store, source.name) is None:
            raise ArtifactError(f"exporting {source.source!r} left no deployment {source.name!r} in {store}")
    except VlpError:
        if _latest_manifest(store, source.name) is None:  # one that is put there by hand must not be taken for this
            _source_note(store, source.name).unlink(missing_ok=True)
        raise


def _note_source(store: Path, source: Checkpoint) -> None:
    note = _source_note(store, source.name)
    note.parent.mkdir(parents=True, exist_ok=True)
    partial = note.with_name(f".{note.name}.{os.getpid()}")
    partial.write_text(json.dumps({"source": source.source}) + "\n", encoding="utf-8")
    partial.replace(note)


def _source_note(store: Path, name: str) -> Path:
    """Where the store notes which checkpoint a deployment came from; a manifest, which travels, holds no paths."""
    return store / "sources" / f"{name}.json"


def _kept_source(store: Path, name: str) -> str | None:
    note = _source_note(store, name)
    if not note.is_file():
        return None
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["source"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{note}: not a note of a checkpoint; remove it") from error


def _latest_manifest(repository: Path, name: str) -> Path | None:
    versions = deployment_versions(repository, name)
    return RepositoryLayout(repository).manifest(name, versions[-1]) if versions else None


def _newest_change(folder: Path) -> float:
    """Time of the last change of a checkpoint's files; a hub id has none that could be seen."""
    if not folder.is_dir():
        return 0.0
    return max((path.stat().st_mtime for path in folder.iterdir() if path.is_file()), default=0.0)


def _deployment_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-_") or "model"


def _unknown(name: str, repositories: Sequence[Path]) -> str:
    known = sorted({known for repository in repositories for known in deployment_names(repository)})
    listed = ", ".join([*known, *DUMMY_NAMES])
    return f"models.serve: {name!r} is no deployment, checkpoint directory or hub id; deployments here: {listed}"
