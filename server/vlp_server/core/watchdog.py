"""Looks after models that serve: runs their canaries again, and keeps their ready gauges true."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from vlp_server.core.records import ModelState
from vlp_server.core.served_model import ServedModel
from vlp_server.core.settings import WatchdogSettings

logger = logging.getLogger(__name__)
TICK_S = 1.0
# After a batch of which every item failed the canary is asked soon, but bad input must not keep the engine busy so.
SUSPECT_GAP_S = 10.0


class Watchdog:
    """A background task over all models. Stalls need no task: `ServedModel.stalled` reads them off the clock."""

    def __init__(
        self, models: Sequence[ServedModel], settings: WatchdogSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._models = models
        self._interval_s = settings.canary_interval_s
        self._clock = clock
        self._checked: dict[int, float] = {}
        self._checks: dict[int, asyncio.Task[None]] = {}
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
        for index, model in enumerate(self._models):
            model.publish_state()
            check = self._checks.get(index)
            if self._due(index, model) and (check is None or check.done()):
                self._checked[index] = self._clock()
                self._checks[index] = asyncio.create_task(model.check_canary())

    def _due(self, index: int, model: ServedModel) -> bool:
        """A model that loaded counts as checked when it was first seen."""
        if model.state is ModelState.LOADING:
            return False
        now = self._clock()
        waited = now - self._checked.setdefault(index, now)
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
