"""What an operator does with models while requests run: load beside what is served, switch, roll back, unload."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from vlp_spec.errors import DeadlineError, ModelConflictError, ModelNotFoundError, UnavailableError

from vlp_server.core.available_models import AvailableModels
from vlp_server.core.directory import ModelDirectory
from vlp_server.core.model_loader import ModelLoader, label_of, name_of
from vlp_server.core.records import ModelState, ModelVersion, VersionState
from vlp_server.core.served_model import ServedModel
from vlp_server.core.unavailable import stopping

logger = logging.getLogger(__name__)
_STATES = {
    ModelState.LOADING: VersionState.LOADING,
    ModelState.READY: VersionState.SERVED,
    ModelState.FAILED: VersionState.FAILED,
}


class ModelManagement:
    """Changes what is served. Belongs to the event loop.

    What was begun is seen through, whatever becomes of its caller; a deadline, in seconds on the clock, is that of the
    answer. All calls answer with the versions of the name.

    Args:
        directory: of the served models.
        loader: of the same.
        available: what lies on disk.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        directory: ModelDirectory,
        loader: ModelLoader,
        available: AvailableModels,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._loader = loader
        self._available = available
        self._clock = clock

    async def versions(self, name: str | None = None) -> list[ModelVersion]:
        """Everything that is served, or lies in the repositories that are served from, by name and version.

        Raises:
            ModelNotFoundError: there is nothing of this name.
        """
        found = await self._versions(name)
        if name is not None and not found:
            raise ModelNotFoundError(f"model {name[:128]!r}: neither served here nor in the repositories")
        return found

    async def load(self, name: str, version: int, *, deadline: float | None = None) -> list[ModelVersion]:
        """Load a version beside what is served, with all of its checks; one that is served already stays as it is.

        Until its name is switched to it, it is asked by name@version alone. One that fails changes nothing for others,
        and may be loaded again.

        Raises:
            ModelNotFoundError: there is no such version on disk.
            ModelConflictError: it cannot be served; says why.
            DeadlineError: it is still being loaded.
            UnavailableError: the server is starting, or stopping.
        """
        if self._loader.closed:
            raise stopping()
        if not self._loader.started:
            raise UnavailableError("the server is starting; ask again")
        still = f"model {label_of((name, version))!r} is still being loaded"
        await self._in_time(self._loader.load((name, version)), deadline, still)
        return await self._versions(name)

    async def switch(self, name: str, version: int) -> list[ModelVersion]:
        """Let a name mean a served version from now on. Requests inside finish where they are.

        Raises:
            ModelNotFoundError: this version is not served.
            UnavailableError: it is, and is not ready.
        """
        model = self._served(name, version)
        model.usable()
        self._directory.switch(name, model)
        logger.info("model %s: now means %s", name, model.label)
        return await self._versions(name)

    async def rollback(self, name: str) -> list[ModelVersion]:
        """Let a name mean what it meant before it was switched.

        Raises:
            ModelNotFoundError: nothing of this name is served.
            ModelConflictError: it meant nothing else, or what it meant has been unloaded.
            UnavailableError: that is not ready.
        """
        if not any(model.is_called(name) for model in self._directory):
            raise ModelNotFoundError(f"model {name[:128]!r}: not served here")
        previous = self._directory.previous(name)
        if previous is None:
            raise ModelConflictError(
                f"model {name!r}: nothing to roll back to; it was not switched, or what it meant before is unloaded"
            )
        previous.usable()
        self._directory.rollback(name)
        logger.info("model %s: rolled back to %s", name, previous.label)
        return await self._versions(name)

    async def unload(
        self, name: str, version: int, *, force: bool = False, deadline: float | None = None
    ) -> list[ModelVersion]:
        """Take a version away: nobody finds it from now on, and it closes when the requests inside have left.

        Args:
            force: also the last one of its name, and what other served models need.

        Raises:
            ModelNotFoundError: this version is not served.
            ModelConflictError: its name means it, others need it, or it is being loaded.
            DeadlineError: requests are still inside.
        """
        key = (name, version)
        if key not in self._loader.leaving:
            self._check_free(name, self._served(name, version), force=force)
        job = self._loader.retire(key)
        if job is not None:
            await self._in_time(job, deadline, f"model {label_of(key)!r} still has requests inside")
        return await self._versions(name)

    async def _versions(self, name: str | None) -> list[ModelVersion]:
        loader = self._loader
        rows: dict[tuple[str, int | None], ModelVersion] = {}
        for key in await loader.threads.run(lambda: self._available.versions(name)):
            reason = loader.failures.get(key)
            state = VersionState.ON_DISK if reason is None else VersionState.FAILED
            rows[key] = ModelVersion(*key, state, reason or "")
        for key in loader.loading:
            rows[key] = ModelVersion(*key, VersionState.LOADING)
        for key, model in loader.leaving.items():
            rows[key] = ModelVersion(*key, VersionState.UNLOADING, requests=model.requests)
        for model in self._directory:
            rows[name_of(model), loader.version_of(model)] = self._row(model)
        found = [row for row in rows.values() if name is None or row.name == name]
        return sorted(found, key=lambda row: (row.name, row.version or 0))

    def _check_free(self, name: str, model: ServedModel, *, force: bool) -> None:
        if model.loaded is None and model.state is ModelState.LOADING:
            raise ModelConflictError(f"model {model.label!r}: it is being loaded; ask again when that is done")
        if not force and (readers := self._directory.readers_without(model)):
            raise ModelConflictError(
                f"model {model.label!r}: it makes the region features that {', '.join(one.label for one in readers)} "
                "read; unload them first, or this one with force"
            )
        if self._directory.current(name) is model:
            others = [one for one in self._directory if one.is_called(name) and one.state is ModelState.READY]
            labels = ", ".join(one.label for one in others if one is not model)
            if labels:
                raise ModelConflictError(
                    f"model {model.label!r}: it is what {name!r} means; switch to another version first: {labels}"
                )
            if not force:
                raise ModelConflictError(
                    f"model {model.label!r}: nothing else could answer for {name!r}; unload it with force where calls "
                    "may be refused"
                )

    async def _in_time(self, job: asyncio.Task[None], deadline: float | None, still: str) -> None:
        """Wait for what goes on by itself."""
        await asyncio.wait([job], timeout=None if deadline is None else max(0.0, deadline - self._clock()))
        if not job.done():
            raise DeadlineError(f"{still}; that goes on, and the list of versions tells how it ends")
        if job.cancelled():
            raise stopping()
        job.result()

    def _row(self, model: ServedModel) -> ModelVersion:
        name = name_of(model)
        return ModelVersion(
            name=name,
            version=self._loader.version_of(model),
            state=_STATES[model.state],
            reason="" if model.state is ModelState.READY else model.reason,
            current=self._directory.current(name) is model,
            previous=self._directory.previous(name) is model,
            requests=model.requests,
        )

    def _served(self, name: str, version: int) -> ServedModel:
        model = self._loader.find((name, version))
        if model is None:
            raise ModelNotFoundError(
                f"model {label_of((name, version))!r}: this version is not served here; load it first"
            )
        return model
