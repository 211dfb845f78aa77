"""Looks after models that serve: runs their canaries again, and keeps their ready gauges true."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from vlp_server.core.records import ModelState
from vlp_server.core.served_model import ServedModel
from vlp_server.core.settings import WatchdogSettings

logger = logging.getLogger(__name__)
TICK_S = 1.0
# After a batch of which every item failed the canary is asked soon, but bad input must not keep the engine busy so.
SUSPECT_GAP_S = 10.0


class Watchdog:
    """A background task over all models. Stalls need no task: `ServedModel.stalled` reads them off the clock.

    Args:
        models: gone through anew at each look.
    """

    def __init__(
        self, models: Iterable[ServedModel], settings: WatchdogSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._models = models
        self._interval_s = settings.canary_interval_s
        self._clock = clock
        self._checked: dict[ServedModel, float] = {}
        self._checks: dict[ServedModel, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._watch())

    def alive(self) -> bool:
        """Whether the task is there, or has not been started."""
        return self._task is None or not self._task.done()

    async def close(self) -> None:
        """Stop looking."""
        tasks = [task for task in (self._task, *self._checks.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = None

    def tick(self) -> None:
        """One look: publish every state, and start the canaries that are due. One that hangs delays no other."""
        for model in self._models:
            model.publish_state()
            check = self._checks.get(model)
            if self._due(model) and (check is None or check.done()):
                self._checked[model] = self._clock()
                self._checks[model] = asyncio.create_task(model.check_canary())

    async def leave(self, model: ServedModel) -> None:
        """Forget a model that is served no more; nobody waits for a canary of it that is under way."""
        self._checked.pop(model, None)
        check = self._checks.pop(model, None)
        if check is not None:
            check.cancel()
            await asyncio.gather(check, return_exceptions=True)

    def _due(self, model: ServedModel) -> bool:
        """A model that loaded counts as checked when it was first seen."""
        if model.state is ModelState.LOADING:
            return False
        now = self._clock()
        waited = now - self._checked.setdefault(model, now)
        if model.wants_canary() and waited >= SUSPECT_GAP_S:
            return True
        return 0 < self._interval_s <= waited

    async def _watch(self) -> None:
        while True:
            try:
                self.tick()
            except Exception:
                logger.exception("the watchdog failed once")
            await asyncio.sleep(TICK_S)
