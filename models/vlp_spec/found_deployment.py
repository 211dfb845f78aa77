"""From a reference such as name, name@3 or name@alias to the manifest of a repository that it names."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vlp_spec.deployment import Deployment, GraphRef
from vlp_spec.deployment_json import dump_deployment, parse_deployment
from vlp_spec.encoder_digest import encoder_digest
from vlp_spec.errors import ArtifactError
from vlp_spec.repository import RepositoryLayout

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


def deployment_names(root: Path) -> list[str]:
    """Names of all deployments of a repository that have a manifest, in alphabetical order."""
    manifests = RepositoryLayout(root).deployments_dir.glob("*/*.json")
    return sorted({path.parent.name for path in manifests if _VERSION.fullmatch(path.stem)})


def deployment_versions(root: Path, name: str) -> list[int]:
    """Versions of a deployment that have a manifest, ascending.

    Raises:
        ArtifactError: such a name is none.
    """
    manifests = RepositoryLayout(root).manifest(name, 1).parent.glob("*.json")
    return sorted(int(path.stem) for path in manifests if _VERSION.fullmatch(path.stem))


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
    versions = deployment_versions(root, name)
    if not versions:
        known = ", ".join(deployment_names(root))
        raise ArtifactError(f"model {name!r}: not in this repository, which has {known or 'none'}")
    aliases = _read_aliases(layout.deployments_dir / name / ALIASES_FILE)
    version = _choose_version(reference, suffix, versions, aliases)
    deployment = parse_deployment(_read_text(layout.manifest(name, version)))
    if (deployment.name, deployment.version) != (name, version):
        raise ArtifactError(
            f"deployments/{name}/{version}.json: is the manifest of {deployment.name}@{deployment.version}"
        )
    pointing_here = frozenset(alias for alias, target in aliases.items() if target == version)
    return FoundDeployment(deployment, layout, pointing_here, digest_of(deployment))


def find_encoder(root: Path, name: str, digest: str) -> FoundDeployment | None:
    """The newest version of a deployment whose outputs are those of an encoder digest; None where there is none.

    Raises:
        ArtifactError: such a name is none, or a manifest is broken.
    """
    versions = reversed(deployment_versions(root, name))
    found = (find_deployment(root, f"{name}@{version}") for version in versions)
    return next((one for one in found if encoder_digest(one.deployment) == digest), None)


def digest_of(deployment: Deployment) -> str:
    """Sha256 of a manifest in its canonical form, in hex."""
    return hashlib.sha256(dump_deployment(deployment).encode()).hexdigest()


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
