"""Which models lie in the repositories that are served from, and how one of them is served. Blocking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vlp_spec.deployment import check_name
from vlp_spec.errors import ArtifactError, ModelNotFoundError
from vlp_spec.found_deployment import deployment_names, deployment_versions, find_deployment

from vlp_server.core.settings import CoreSettings, ModelSettings


class AvailableModels:
    """The repositories of the configured models; nothing outside them can be named.

    A name that lies in several of them means the one that its configured model comes from, else the first.
    """

    def __init__(self, settings: CoreSettings) -> None:
        self._settings = settings

    def versions(self, name: str | None = None) -> list[tuple[str, int]]:
        """Names and versions on disk, in order; of one name, or of all. What does not lie there has none."""
        names = self._names() if name is None else [name] if self._repository(name) is not None else []
        return [(one, version) for one in names for version in self._versions_of(one)]

    def settings(self, name: str, version: int) -> ModelSettings:
        """How a model is served: as the configured one of its name, else as the first one of its repository.

        Raises:
            ModelNotFoundError: there is no such name or version.
        """
        repository = self._repository(name)
        if repository is None:
            raise ModelNotFoundError(f"model {name[:128]!r}: in none of the repositories that are served here")
        versions = self._versions_of(name)
        if version not in versions:
            raise ModelNotFoundError(
                f"model {name!r}: no version {version} on disk; there are {', '.join(map(str, versions))}"
            )
        own = self._configured(name)
        if own is not None:
            return replace(own, reference=f"{name}@{version}")
        first = next(model for model in self._settings.models if model.repository == repository)
        return replace(first, reference=f"{name}@{version}", engine=self._settings.engine or first.engine)

    def version_of(self, settings: ModelSettings) -> int | None:
        """The version that a configured reference means now; None where it means nothing."""
        name, _, suffix = settings.reference.partition("@")
        if settings.repository is None:
            return 1
        if suffix.isdecimal():
            return int(suffix)
        try:
            if not suffix:
                return deployment_versions(settings.repository, name)[-1]
            return find_deployment(settings.repository, settings.reference).deployment.version
        except (ArtifactError, IndexError):
            return None

    def _names(self) -> list[str]:
        return sorted({name for root in self._repositories() for name in deployment_names(root) if _is_name(name)})

    def _repositories(self) -> Iterator[Path]:
        roots = dict.fromkeys(model.repository for model in self._settings.models)
        return (root for root in roots if root is not None)

    def _repository(self, name: str) -> Path | None:
        """Where a name lies; None where it does nowhere, or cannot be one."""
        if not _is_name(name):
            return None
        own = self._configured(name)
        roots = self._repositories() if own is None else iter([own.repository])
        return next((root for root in roots if root is not None and deployment_versions(root, name)), None)

    def _versions_of(self, name: str) -> list[int]:
        root = self._repository(name)
        return [] if root is None else deployment_versions(root, name)

    def _configured(self, name: str) -> ModelSettings | None:
        models = self._settings.models
        return next((model for model in models if model.reference.partition("@")[0] == name), None)


def _is_name(text: str) -> bool:
    try:
        check_name(text)
    except ArtifactError:
        return False
    return True
