"""The way of items to an engine elsewhere, which makes batches itself: each goes at once, alone, padded to a bucket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from typing import Any, Protocol, TypeVar

import numpy as np
from vlp_pipeline.pipeline import Item
from vlp_spec.errors import DeadlineError, InferenceError, InternalError, UnavailableError
from vlp_spec.tasks import Lane

from vlp_server.core.batcher import Computed
from vlp_server.core.bisection import RowOutputs
from vlp_server.core.drain_rate import DrainRate
from vlp_server.core.engine_thread import EngineThread
from vlp_server.core.queue_room import check_room
from vlp_server.core.scheduler import DropReason, cost_of
from vlp_server.core.settings import AdmissionSettings
from vlp_server.core.unavailable import copied, stopping
from vlp_server.engines.base import CallTerms, Feeds, Outputs

T = TypeVar("T")
Infer = Callable[[Feeds, CallTerms], Coroutine[Any, Any, Outputs]]


class RemoteObserver(Protocol):
    """Who is told; called on the event loop, must return at once and raise nothing."""

    def queue_changed(self, items: int, cost: int) -> None:
        """So much is under way or waits."""

    def batch_finished(self, items: int, failed: int) -> None:
        """Items came back; `failed` of them failed."""

    def item_dropped(self, reason: DropReason) -> None:
        """An item was given up."""


class RemoteQueue:
    """See ItemQueue. It bounds what is under way, and knows deadlines; order and batches are made where the graph is.

    Args:
        name: of the thread for canaries, for debuggers.
        collate: one item -> feeds of one row.
        infer: starts a call.
        parallel: calls under way at a time, half of them at most of bulk work; more wait here, in the order in which
            they came.
    """

    def __init__(
        self,
        name: str,
        collate: Callable[[Item], Feeds],
        infer: Infer,
        admission: AdmissionSettings,
        observer: RemoteObserver,
        *,
        parallel: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collate = collate
        self._infer = infer
        self._admission = admission
        self._observer = observer
        self._clock = clock
        self._free = asyncio.Semaphore(parallel)
        # Bulk work that came first would else take every place, and who is in a hurry would wait for one.
        self._free_for_bulk = asyncio.Semaphore(max(1, parallel // 2))
        self._thread = EngineThread(name, clock)
        self._drain_rate = DrainRate(parallel)
        self._cost = 0
        self._calls: dict[asyncio.Task[Computed], UnavailableError | None] = {}  # why it was given up here
        self._refusal: UnavailableError | None = None
        self._closed = False

    def start(self) -> None:
        """Nothing to begin: every item goes by itself."""

    async def submit(self, item: Item, *, lane: Lane, deadline: float | None) -> Computed:
        """Send an item and wait for its outputs; being cancelled gives the call up there, too.

        Raises:
            OverloadedError: too much is under way, here or there.
            DeadlineError, InferenceError, UnavailableError: as RemoteEngine.infer, and as Batcher.submit.
        """
        if self._refusal is not None:
            raise copied(self._refusal)
        cost = cost_of(item)
        check_room(
            self._admission,
            lane,
            held=self._cost,
            cost=cost,
            retry_after_s=self.retry_after_s,
            told=f"cost {self._cost} is under way",
        )
        until = self._clock() + self._admission.default_timeout_s if deadline is None else deadline
        call = asyncio.ensure_future(self._call(item, lane, until, cost))
        self._calls[call] = None
        self._changed(cost)
        try:
            computed = await call
            if (reason := self._calls[call]) is not None:  # in the moment before this task went on
                raise copied(reason)
            return computed
        except asyncio.CancelledError:
            if (reason := self._calls[call]) is not None and not _is_cancelled():
                raise copied(reason) from None
            call.cancel()
            self._observer.item_dropped(DropReason.CANCELLED if self._clock() < until else DropReason.DEADLINE)
            raise
        finally:
            del self._calls[call]
            self._changed(-cost)

    async def run_alone(self, call: Callable[[], T]) -> T:
        """Run something else in a thread, such as a canary."""
        return await self._thread.run(call)

    def distrust(self, reason: UnavailableError) -> None:
        """Fail what is under way, and whatever comes from now on, until `trust`."""
        self._give_up(reason, DropReason.DISTRUSTED)

    def trust(self) -> None:
        """Take items again, unless it has been closed."""
        if not self._closed:
            self._refusal = None

    def busy_since(self) -> float | None:
        """Never stuck: every call ends at its deadline, wherever it is."""
        return None

    def retry_after_s(self) -> float:
        """Seconds after which what is under way now should be done."""
        return self._drain_rate.seconds_for(self._cost)

    def alive(self) -> bool:
        """There is no worker that could die."""
        return True

    async def close(self) -> None:
        """Stop; waiting callers get UnavailableError."""
        self._closed = True
        self._give_up(stopping(), DropReason.CLOSED)
        await asyncio.gather(*self._calls, return_exceptions=True)
        self._thread.close()

    def _give_up(self, reason: UnavailableError, why: DropReason) -> None:
        self._refusal = reason
        for call in self._calls:
            self._calls[call] = reason
            self._observer.item_dropped(why)
            call.cancel()

    async def _call(self, item: Item, lane: Lane, until: float, cost: int) -> Computed:
        asked = self._clock()
        async with self._free_for_bulk if lane is Lane.BULK else nullcontext(), self._free:
            started = self._clock()
            if started >= until:
                self._observer.item_dropped(DropReason.DEADLINE)
                raise DeadlineError("the deadline passed while the request waited for the model")
            failed = 1
            try:
                terms = CallTerms(timeout_s=until - started, lane=lane)
                outputs = _row(await self._infer(self._collate(item), terms))
                failed = 0
            except InferenceError:
                raise
            except BaseException:
                failed = 0  # of the way there, not of this item
                raise
            finally:
                self._observer.batch_finished(1, failed)
            seconds = self._clock() - started
            self._drain_rate.observe(cost, seconds)
            return Computed(outputs, started - asked, seconds, 1)

    def _changed(self, cost: int) -> None:
        self._cost += cost
        self._observer.queue_changed(len(self._calls), self._cost)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _row(outputs: Outputs) -> RowOutputs:
    """The one row of every output.

    Raises:
        InferenceError: an output is not finite.
        InternalError: it has another number of rows.
    """
    for name, array in outputs.items():
        if array is None or array.ndim == 0 or len(array) != 1:
            raise InternalError(detail=f"output {name!r}: no row, or several, for one item")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InferenceError(
                "the model failed on this item; the same input will fail again", detail=f"output {name!r} is not finite"
            )
    return {name: array[0] for name, array in outputs.items()}
