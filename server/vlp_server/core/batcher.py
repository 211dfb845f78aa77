"""Runs the scheduler's batches: callers await their items on the event loop, engine threads compute."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from vlp_pipeline.pipeline import Item
from vlp_spec.errors import DeadlineError, InferenceError, InternalError, UnavailableError, VlpError
from vlp_spec.tasks import Lane

from vlp_server.core.bisection import RowOutputs
from vlp_server.core.engine_thread import EngineThread
from vlp_server.core.records import Timings
from vlp_server.core.scheduler import Batch, BatchScheduler, DropReason, QueuedItem
from vlp_server.core.unavailable import copied, stopping

logger = logging.getLogger(__name__)
T = TypeVar("T")
# The event loop may fire a timer a little before its time; a caller who leaves then has left for its deadline.
_TIMER_SLACK_S = 0.005
_MS = 1000.0
ComputeBatch = Callable[[Sequence[Item]], Sequence[RowOutputs | InferenceError]]


@dataclass(frozen=True, slots=True)
class Computed:
    """One item's outputs and how it came to them, seconds."""

    outputs: RowOutputs
    queue_s: float
    infer_s: float
    batch_items: int

    def timings(self, *, postprocess_s: float) -> Timings:
        """The same as a request's timings."""
        return Timings(
            queue_ms=self.queue_s * _MS,
            infer_ms=self.infer_s * _MS,
            postprocess_ms=postprocess_s * _MS,
            batch_items=self.batch_items,
        )


class BatchObserver(Protocol):
    """Who is told what the batcher does; called on the event loop, must return at once and raise nothing."""

    def queue_changed(self, items: int, cost: int) -> None:
        """The queue now holds so much."""

    def batch_started(self, batch: Batch) -> None:
        """A batch goes to the engine."""

    def batch_finished(self, items: int, failed: int) -> None:
        """A batch is done; `failed` of its items failed."""

    def item_dropped(self, reason: DropReason) -> None:
        """An item left the queue without costing compute."""

    def worker_crashed(self) -> None:
        """A batch ended in a fault of ours, and its worker goes on with the next."""


class Batcher:
    """The running queue of one graph. All methods belong to one event loop.

    Args:
        name: of the threads, for debuggers.
        compute: blocking; gives one outcome per item. `run_bisecting` keeps its failures apart.
        workers: how many batches may be computed at a time.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        compute: ComputeBatch,
        scheduler: BatchScheduler,
        observer: BatchObserver,
        *,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._compute = compute
        self._scheduler = scheduler
        self._observer = observer
        self._clock = clock
        self._threads = [EngineThread(f"{name}-{index}", clock) for index in range(workers)]
        self._waiting: dict[QueuedItem, asyncio.Future[Computed]] = {}
        self._work_there = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        self._distrusted: UnavailableError | None = None

    def start(self) -> None:
        """Begin to take batches."""
        self._tasks = [asyncio.create_task(self._work(thread)) for thread in self._threads]

    async def submit(self, item: Item, *, lane: Lane, deadline: float | None) -> Computed:
        """Queue an item and wait for its outputs.

        When the awaiting task is cancelled the item leaves the queue; when it is being computed its result is dropped.

        Raises:
            TooLargeError, OverloadedError: see BatchScheduler.add.
            DeadlineError: its deadline passed while it waited.
            InferenceError: the model failed on this item.
            InternalError: the worker crashed.
            UnavailableError: the batcher has been closed, or is told meanwhile to distrust its model.
        """
        if self._closed:
            raise stopping()
        if self._distrusted is not None:
            raise copied(self._distrusted)
        queued = self._scheduler.add(item, lane, deadline, self._clock())
        future: asyncio.Future[Computed] = asyncio.get_running_loop().create_future()
        self._waiting[queued] = future
        self._queue_changed()
        self._work_there.set()
        try:
            computed = await future
            if self._distrusted is not None:  # in the moment before this task went on
                raise copied(self._distrusted)
            return computed
        finally:
            self._waiting.pop(queued, None)
            if self._scheduler.remove(queued):  # the caller has gone while it waited
                late = self._clock() + _TIMER_SLACK_S >= queued.deadline
                self._observer.item_dropped(DropReason.DEADLINE if late else DropReason.CANCELLED)
                self._queue_changed()

    async def run_alone(self, call: Callable[[], T]) -> T:
        """Run something else in an engine thread, between batches, such as a canary."""
        return await self._threads[0].run(call)

    def distrust(self, reason: UnavailableError) -> None:
        """Fail what waits or is being computed, and whatever is submitted from now on, until `trust`."""
        self._distrusted = reason
        for _ in self._scheduler.clear():
            self._observer.item_dropped(DropReason.DISTRUSTED)
        for queued in list(self._waiting):
            self._fail(queued, copied(reason))
        self._queue_changed()

    def trust(self) -> None:
        """Take items again."""
        self._distrusted = None

    def busy_since(self) -> float | None:
        """When the oldest call that is under way was started, on the batcher's clock; None when idle."""
        return min((since for thread in self._threads if (since := thread.busy_since()) is not None), default=None)

    def retry_after_s(self) -> float:
        """Seconds after which what is queued now should be done."""
        return self._scheduler.retry_after_s()

    def alive(self) -> bool:
        """Whether every worker is there."""
        return all(not task.done() for task in self._tasks)

    async def close(self) -> None:
        """Stop; waiting callers get UnavailableError. A batch in the engine is not waited for."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for queued in self._scheduler.clear():
            self._observer.item_dropped(DropReason.CLOSED)
            self._fail(queued, stopping())
        for queued in list(self._waiting):
            self._fail(queued, stopping())
        for thread in self._threads:
            thread.close()
        self._queue_changed()

    async def _work(self, thread: EngineThread) -> None:
        """One worker: takes a batch whenever its thread is free. Only being cancelled ends it."""
        while True:
            self._drop_expired()
            batch = self._scheduler.next_batch()
            if batch is None:
                self._work_there.clear()
                await self._work_there.wait()
                continue
            try:
                await self._run(thread, batch)
            except Exception as error:
                # Not an item's fault, or it would have come as an outcome. The batch is lost; those who wait in the
                # queue are not, and the worker goes on with them.
                logger.exception("a batch of %d items failed: %s", len(batch.items), _detail(error))
                self._observer.worker_crashed()
                self._observer.batch_finished(len(batch.items), len(batch.items))
                for queued in batch.items:
                    self._fail(queued, InternalError(detail=repr(error)))

    async def _run(self, thread: EngineThread, batch: Batch) -> None:
        started = self._clock()
        self._queue_changed()
        self._observer.batch_started(batch)
        items = [queued.item for queued in batch.items]
        outcomes = await thread.run(lambda: self._compute(items))
        infer_s = self._clock() - started
        self._scheduler.drain_rate.observe(batch.cost, infer_s)
        if len(outcomes) != len(items):
            raise InternalError(detail=f"{len(outcomes)} outcomes for {len(items)} items")
        for queued, outcome in zip(batch.items, outcomes, strict=True):
            if isinstance(outcome, InferenceError):
                self._fail(queued, outcome)
                continue
            future = self._waiting.get(queued)
            if future is not None and not future.done():
                future.set_result(Computed(outcome, started - queued.enqueued, infer_s, len(items)))
        failed = sum(isinstance(outcome, InferenceError) for outcome in outcomes)
        self._observer.batch_finished(len(items), failed)

    def _drop_expired(self) -> None:
        dropped = self._scheduler.drop_expired(self._clock())
        for queued in dropped:
            self._observer.item_dropped(DropReason.DEADLINE)
            self._fail(queued, DeadlineError("the deadline passed while the request waited for the model"))
        if dropped:
            self._queue_changed()

    def _fail(self, queued: QueuedItem, error: VlpError) -> None:
        future = self._waiting.get(queued)
        if future is not None and not future.done():
            future.set_exception(error)

    def _queue_changed(self) -> None:
        self._observer.queue_changed(self._scheduler.queued_items, self._scheduler.queued_cost)


def _detail(error: Exception) -> str | None:
    return error.detail if isinstance(error, VlpError) else repr(error)
