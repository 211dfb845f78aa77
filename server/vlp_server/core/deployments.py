"""Finds a deployment in a repository and lets in only what is whole: digests right, proof holding."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vlp_spec.deployment import Deployment, GraphRef, check_name
from vlp_spec.deployment_json import dump_deployment, parse_deployment
from vlp_spec.errors import ArtifactError
from vlp_spec.repository import CANARY_ASSET, RepositoryLayout

ALIASES_FILE = "aliases.json"
_VERSION = re.compile(r"[1-9][0-9]{0,8}")  # one spelling a number: 01.json is no version


@dataclass(frozen=True, slots=True)
class FoundDeployment:
    """A manifest that was read; its files are not verified yet.

    Attributes:
        aliases: names that stand for this version, as in model@alias.
        digest: sha256 of the manifest, which holds the digests of all files: it names the model's content.
    """

    deployment: Deployment
    layout: RepositoryLayout
    aliases: frozenset[str]
    digest: str

    @property
    def assets_dir(self) -> Path:
        """The folder of tokenizer, labels and canary."""
        return self.layout.assets(self.deployment.name, self.deployment.version)

    def graph_dir(self, graph: GraphRef) -> Path:
        """The version folder of a graph."""
        return self.layout.graph_dir(graph.name) / str(graph.version)


def find_deployment(root: Path, reference: str) -> FoundDeployment:
    """Read the manifest that a reference names.

    Args:
        root: the repository.
        reference: "name" (the highest version), "name@3", or "name@alias" with an entry in
            deployments/<name>/aliases.json, such as {"stable": 3}.

    Raises:
        ArtifactError: there is no such deployment, version or alias, or its manifest is broken.
    """
    name, _, suffix = reference.partition("@")
    layout = RepositoryLayout(root)
    folder = layout.deployments_dir / check_name(name)
    versions = sorted(int(path.stem) for path in folder.glob("*.json") if _VERSION.fullmatch(path.stem))
    if not versions:
        known = sorted(path.name for path in layout.deployments_dir.glob("*") if path.is_dir())
        raise ArtifactError(f"model {name!r}: not in this repository, which has {', '.join(known) or 'none'}")
    aliases = _read_aliases(folder / ALIASES_FILE)
    version = _choose_version(reference, suffix, versions, aliases)
    deployment = parse_deployment(_read_text(layout.manifest(name, version)))
    if (deployment.name, deployment.version) != (name, version):
        raise ArtifactError(
            f"deployments/{name}/{version}.json: is the manifest of {deployment.name}@{deployment.version}"
        )
    pointing_here = frozenset(alias for alias, target in aliases.items() if target == version)
    return FoundDeployment(deployment, layout, pointing_here, digest_of(deployment))


def digest_of(deployment: Deployment) -> str:
    """Sha256 of a manifest in its canonical form, in hex."""
    return hashlib.sha256(dump_deployment(deployment).encode()).hexdigest()


def verify_files(found: FoundDeployment) -> None:
    """Check the proof, and every file of the deployment against its digest.

    Raises:
        ArtifactError: the proof does not hold, or a file is missing or was changed; names it.
    """
    deployment = found.deployment
    place = f"deployment {deployment.name}@{deployment.version}"
    if not deployment.proof.holds():
        raise ArtifactError(f"{place}: its proof does not hold; export the checkpoint again")
    for graph in deployment.graphs:
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


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path.parent.name}/{path.name}: cannot be read ({type(error).__name__})") from error


def _read_aliases(path: Path) -> dict[str, int]:
    if not path.is_file():
        return {}
    try:
        raw = json.loads(_read_text(path))
    except ValueError as error:
        raise ArtifactError(f"{path.parent.name}/{path.name}: not JSON ({error})") from error
    if not isinstance(raw, dict) or not all(type(version) is int for version in raw.values()):
        raise ArtifactError(f'{path.parent.name}/{path.name}: expected an object such as {{"stable": 3}}')
    return raw


def _choose_version(reference: str, suffix: str, versions: list[int], aliases: Mapping[str, int]) -> int:
    if not suffix:
        if "@" in reference:
            raise ArtifactError(f"model {reference!r}: nothing after '@'; give a version or an alias")
        return versions[-1]
    version = int(suffix) if suffix.isdecimal() else aliases.get(suffix)
    if version not in versions:
        raise ArtifactError(
            f"model {reference!r}: no such version; there are {', '.join(map(str, versions))}"
            + (f" and the aliases {', '.join(sorted(aliases))}" if aliases else "")
        )
    return version


def _check_all_listed(found: FoundDeployment, graph: GraphRef, place: str) -> None:
    """An engine reads whatever lies beside the graph (external weights), so nothing unlisted may lie there."""
    root = found.layout.graph_dir(graph.name)
    there = {path.relative_to(root).as_posix() for path in found.graph_dir(graph).rglob("*") if path.is_file()}
    if extra := sorted(there - set(graph.files)):
        raise ArtifactError(f"{place}: model_repository/{graph.name}/{extra[0]}: not in the manifest")
    if not graph.files:
        raise ArtifactError(f"{place}: its manifest lists no file of graph {graph.name!r}")


def _verify(folder: Path, file_name: str, digest: str, shown: str) -> None:
    """Check one file; names that lead out of the folder were refused when the manifest was read."""
    path = folder / file_name
    if not path.is_file():
        raise ArtifactError(f"{shown}: missing")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise ArtifactError(f"{shown}: changed since it was published (sha256 {found[:12]}, expected {digest[:12]})")
