"""What a run puts into a Triton repository beside what it was given: extractors, and what earlier runs wrote there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlp_spec.encoder_digest import encoder_digest
from vlp_spec.errors import ArtifactError
from vlp_spec.found_deployment import (
    FoundDeployment,
    deployment_names,
    deployment_versions,
    find_deployment,
    find_encoder,
)


@dataclass(frozen=True, slots=True)
class TritonPlan:
    """What a repository will hold.

    Attributes:
        written: deployments that are written anew.
        kept: those of earlier runs that stay as they lie there; of other names than `written`.
    """

    written: tuple[FoundDeployment, ...]
    kept: tuple[FoundDeployment, ...]

    def loaded_versions(self, name: str, newest: int) -> int:
        """How many of the newest versions of a deployment Triton must load: `newest`, and as far back as the extractor
        of another deployment lies.
        """
        versions = sorted((one for one in self.written if one.deployment.name == name), key=_version, reverse=True)
        digests = [encoder_digest(one.deployment) for one in versions]
        wanted = {digest for one in (*self.written, *self.kept) if (digest := _wanted(one)[1]) in digests}
        return max([newest, *(digests.index(digest) + 1 for digest in wanted)])


def plan_repository(target: Path, found: Sequence[FoundDeployment]) -> TritonPlan:
    """What is to be written into `target`, and what stays there.

    A deployment of an earlier run stays unless this one has it, of whatever version; an extractor is added wherever a
    deployment reads the features of one that is older than those given.

    Raises:
        ArtifactError: what lies there cannot be read, or something that stays would lose its extractor.
    """
    written = list(found)
    for reader in found:
        extractor = _missing_extractor(reader, written, [reader.layout.root, *(one.layout.root for one in found)])
        if extractor is not None and not _is_there(written, extractor):
            written.append(extractor)
    kept = _others(target, {one.deployment.name for one in written})
    for reader in kept:
        extractor = _missing_extractor(reader, (*written, *kept), [target])
        if extractor is None:
            continue
        if _is_there(written, extractor):
            raise ArtifactError(
                f"{_label(reader)}: lies in {target} and reads features of {_label(extractor)} as it is there, which "
                "this run replaces by another one of that version; name another folder"
            )
        written.append(extractor)
    return TritonPlan(tuple(written), kept)


def _others(target: Path, names: set[str]) -> tuple[FoundDeployment, ...]:
    """Every deployment that lies there under another name."""
    return tuple(
        find_deployment(target, f"{name}@{version}")
        for name in deployment_names(target)
        if name not in names
        for version in deployment_versions(target, name)
    )


def _missing_extractor(
    reader: FoundDeployment, there: Iterable[FoundDeployment], roots: Sequence[Path]
) -> FoundDeployment | None:
    """What makes the region features that a deployment reads, unless it is there; None where no repository has it."""
    name, digest = _wanted(reader)
    if not name or any(encoder_digest(one.deployment) == digest for one in there):
        return None
    return next((one for root in dict.fromkeys(roots) if (one := find_encoder(root, name, digest)) is not None), None)


def _is_there(found: Iterable[FoundDeployment], wanted: FoundDeployment) -> bool:
    """Whether a deployment of this name and version is among them, whatever it holds."""
    return _label(wanted) in {_label(one) for one in found}


def _wanted(found: FoundDeployment) -> tuple[str, str]:
    """Name and encoder digest of what makes the region features that a deployment reads; empty where it reads none."""
    image = found.deployment.image
    return str(image.get("extractor", "")), str(image.get("extractor_digest", ""))


def _version(found: FoundDeployment) -> int:
    return found.deployment.version


def _label(found: FoundDeployment) -> str:
    return f"deployment {found.deployment.name}@{found.deployment.version}"
