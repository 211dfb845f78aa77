"""Brings models into the directory and takes them out of it again, one load at a time, whoever waits for it."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Mapping

from vlp_spec.errors import InternalError, ModelConflictError, VlpError

from vlp_server.core.available_models import AvailableModels
from vlp_server.core.directory import ModelDirectory
from vlp_server.core.engine_thread import EngineThread
from vlp_server.core.records import ModelState
from vlp_server.core.served_model import ServedModel
from vlp_server.core.settings import ModelSettings
from vlp_server.core.thread_team import ThreadTeam
from vlp_server.core.watchdog import Watchdog

logger = logging.getLogger(__name__)
ModelKey = tuple[str, int]
"""Name and version."""
# A model whose graphs lie elsewhere says by itself when they are there, and whoever loads one does not wait for ever.
_ELSEWHERE_LIMIT_S = 120.0
_ELSEWHERE_LOOK_S = 0.1
# At a time; one that hangs must not hold up the others.
_UNLOADS = 4


class ModelLoader:
    """Belongs to the event loop; constructing loads nothing. What was begun is seen through.

    Args:
        directory: of the configured models, none of them loaded.
        watchdog: over the same.
        available: what else could be loaded.
        make: a model from its settings, not loaded.
        clock: monotonic seconds.

    Attributes:
        threads: for what must not wait for a model that takes minutes to load, or hangs: reading folders.
        failures: what could not be loaded, and why, safe to show.
    """

    def __init__(
        self,
        directory: ModelDirectory,
        watchdog: Watchdog,
        available: AvailableModels,
        make: Callable[[ModelSettings], ServedModel],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._watchdog = watchdog
        self._available = available
        self._make = make
        self._clock = clock
        self._thread = EngineThread("loader")
        self.threads = ThreadTeam("models", 1)
        # Of its own: an engine whose graphs lie elsewhere may take long to unload them there.
        self._unloading = ThreadTeam("unload", _UNLOADS)
        self.failures: dict[ModelKey, str] = {}
        self._starting: asyncio.Task[None] | None = None
        # Of configured models: those that cannot be loaded know no version themselves.
        self._noted: dict[ServedModel, int | None] = {}
        self._loads: dict[ModelKey, asyncio.Task[None]] = {}
        self._retiring: dict[ModelKey, tuple[ServedModel, asyncio.Task[None]]] = {}
        self.closed = False

    @property
    def started(self) -> bool:
        """Whether loading has begun."""
        return self._starting is not None

    @property
    def loading(self) -> list[ModelKey]:
        """What is being loaded, or waits for it, beside the configured models."""
        return list(self._loads)

    @property
    def leaving(self) -> Mapping[ModelKey, ServedModel]:
        """What nobody finds any more, and requests are still inside."""
        return {key: model for key, (model, _) in self._retiring.items()}

    def start(self) -> None:
        """Begin to load the configured models."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._load_configured())

    async def wait_loaded(self, timeout_s: float | None = None) -> None:
        """Wait until no configured model is being loaded any more, or the time is over."""
        if self._starting is not None:
            await asyncio.wait([self._starting], timeout=timeout_s)

    def load(self, key: ModelKey) -> asyncio.Task[None]:
        """Begin to load a model on trial, or join what was begun; nothing happens where it is served.

        Returns:
            what raises ModelNotFoundError where there is no such version, and ModelConflictError where it cannot be
            served.
        """
        job = self._loads.get(key)
        if job is None:
            job = self._loads[key] = asyncio.create_task(self._load(key))
            job.add_done_callback(functools.partial(self._end_load, key))
        return job

    def retire(self, key: ModelKey) -> asyncio.Task[None] | None:
        """Take a model out of the directory, and close it when the requests inside have left; or join what was begun.

        Returns:
            what ends then, and raises ModelConflictError where its engine could not unload it; None where no such model
            is served.
        """
        if key in self._retiring:
            return self._retiring[key][1]
        model = self.find(key)
        if model is None:
            return None
        self._directory.remove(model)
        logger.info("model %s: unloading", model.label)
        job = asyncio.create_task(self._retire(key, model))
        job.add_done_callback(_seen)
        self._retiring[key] = model, job
        return job

    def find(self, key: ModelKey) -> ServedModel | None:
        """The model in the directory."""
        return next((model for model in self._directory if (name_of(model), self.version_of(model)) == key), None)

    def version_of(self, model: ServedModel) -> int | None:
        """The version of a model in the directory; None while nobody knows, and where its reference means nothing."""
        return model.loaded.deployment.version if model.loaded is not None else self._noted.get(model)

    async def close(self) -> None:
        """Stop loading, and close what is served; requests inside fail with UnavailableError. May be called twice."""
        self.closed = True
        leaving = list(self.leaving.values())
        retirements = [job for _, job in self._retiring.values()]
        jobs = [*([] if self._starting is None else [self._starting]), *self._loads.values(), *retirements]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        self._thread.close()
        for model in (*self._directory, *leaving):
            await model.close()
        self.threads.close()
        self._unloading.close()

    async def _load_configured(self) -> None:
        """One after another: two models loading at once would each take the memory that the other has counted on."""
        for model in self._directory:
            self._noted[model] = await self.threads.run(functools.partial(self._available.version_of, model.settings))
            await model.load(self._thread)
            logger.info("model %s: %s", model.label, model.reason)

    async def _load(self, key: ModelKey) -> None:
        await self.wait_loaded()
        if key in self._retiring:
            await asyncio.wait([self._retiring[key][1]])
        if (known := self.find(key)) is not None and known.loaded is not None:
            return
        model = self._make(await self.threads.run(lambda: self._available.settings(*key)))
        try:
            await model.load(self._thread)
            await self._until_there(model)
        except BaseException:
            await model.close()
            raise
        if model.state is not ModelState.READY:
            reason = self.failures[key] = model.reason
            await self._put_away(model)
            raise ModelConflictError(f"model {label_of(key)!r} cannot be served: {reason}")
        self.failures.pop(key, None)
        never_loaded = self.find(key)
        self._directory.add(model, instead_of=never_loaded)
        logger.info("model %s: served", model.label)
        if never_loaded is not None:
            await self._watchdog.leave(never_loaded)
            await self._put_away(never_loaded)
            self._noted.pop(never_loaded, None)
            model.publish_state()  # the gauge that has gone may have had the same name

    async def _put_away(self, model: ServedModel) -> None:
        """Close a model that could not be loaded; whoever waits is told of that."""
        try:
            await model.retire(self._unloading)
        except Exception:
            logger.exception("model %s: closed, but its engine could not unload it", model.label)

    async def _until_there(self, model: ServedModel) -> None:
        end = self._clock() + _ELSEWHERE_LIMIT_S
        while model.state is ModelState.LOADING and self._clock() < end:
            await asyncio.sleep(_ELSEWHERE_LOOK_S)

    def _end_load(self, key: ModelKey, job: asyncio.Task[None]) -> None:
        self._loads.pop(key, None)
        _seen(job)

    async def _retire(self, key: ModelKey, model: ServedModel) -> None:
        try:
            await self._watchdog.leave(model)
            await model.retire(self._unloading)
            logger.info("model %s: unloaded", model.label)
        except Exception as error:
            logger.exception("model %s: closed, but its engine could not unload it", model.label)
            reason = error.message if isinstance(error, VlpError) else InternalError().message
            raise ModelConflictError(
                f"model {label_of(key)!r} is served here no more, but its engine could not unload it: {reason}"
            ) from error
        finally:
            self._retiring.pop(key, None)
            self._noted.pop(model, None)


def name_of(model: ServedModel) -> str:
    """Its name without a version."""
    return model.settings.reference.partition("@")[0]


def label_of(key: ModelKey) -> str:
    """name@version, for messages."""
    return f"{key[0][:128]}@{key[1]}"


def _seen(job: asyncio.Task[None]) -> None:
    """What a job raised was seen, even when the caller has left."""
    if not job.cancelled():
        job.exception()
