import asyncio
import logging
import threading

import numpy as np
import pytest
from vlp_pipeline.pipeline import Item
from vlp_server.core.batcher import Batcher
from vlp_server.core.scheduler import BatchScheduler, DropReason
from vlp_server.core.settings import AdmissionSettings, BatchSettings
from vlp_spec.errors import DeadlineError, InferenceError, InternalError, OverloadedError, UnavailableError
from vlp_spec.tasks import Lane


class Observer:
    def __init__(self):
        self.batches, self.dropped, self.failed, self.crashes, self.queue = [], [], 0, 0, []

    def queue_changed(self, items, cost):
        self.queue.append((items, cost))

    def batch_started(self, batch):
        self.batches.append(len(batch.items))

    def batch_finished(self, items, failed):
        self.failed += failed

    def item_dropped(self, reason):
        self.dropped.append(reason)

    def worker_crashed(self):
        self.crashes += 1


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Gate:
    """A compute whose batches wait until they are let through; a row's output is its number."""

    def __init__(self):
        self.entered, self.go, self.fault = threading.Semaphore(0), threading.Semaphore(0), None

    def __call__(self, items):
        self.entered.release()
        self.go.acquire(timeout=10)
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        numbers = [int(item.arrays["x"][0]) for item in items]
        return [InferenceError("bad") if number < 0 else {"y": np.array([number])} for number in numbers]

    async def wait_entered(self):
        assert await asyncio.to_thread(self.entered.acquire, timeout=5)

    def open(self, batches=100):
        for _ in range(batches):
            self.go.release()


def item(number):
    return Item({"x": np.array([number])}, {"text": 2})


class Rig:
    def __init__(self, workers=1, admission=None, **batch):
        self.gate, self.observer, self.clock = Gate(), Observer(), Clock()
        scheduler = BatchScheduler(BatchSettings(**batch), admission or AdmissionSettings())
        self.batcher = Batcher("t", self.gate, scheduler, self.observer, workers=workers, clock=self.clock)
        self.batcher.start()

    def submit(self, number, lane=Lane.INTERACTIVE, deadline=None):
        return asyncio.create_task(self.batcher.submit(item(number), lane=lane, deadline=deadline))

    async def occupy(self):
        """One item in the engine, so that what comes after it waits."""
        task = self.submit(0)
        await self.gate.wait_entered()
        return task


@pytest.fixture
async def rig():
    made = Rig()
    yield made
    made.gate.open()
    await made.batcher.close()


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_queued_while_the_engine_was_busy_goes_together(rig):
    first = await rig.occupy()
    others = [rig.submit(number) for number in range(1, 6)]
    await settle()
    rig.gate.open()
    results = await asyncio.gather(first, *others)
    assert [int(result.outputs["y"][0]) for result in results] == [0, 1, 2, 3, 4, 5]
    assert rig.observer.batches == [1, 5]
    assert [result.batch_items for result in results] == [1, 5, 5, 5, 5, 5]


async def test_a_neighbour_that_leaves_in_the_engine_or_in_the_queue_hurts_nobody(rig):
    busy = [rig.submit(number) for number in range(3)]
    await rig.gate.wait_entered()
    queued = [rig.submit(number) for number in range(3, 6)]
    await settle()
    busy[1].cancel()
    queued[1].cancel()
    await settle()
    assert rig.observer.dropped == [DropReason.CANCELLED]
    rig.gate.open()
    kept = [busy[0], busy[2], queued[0], queued[2]]
    assert [int((await task).outputs["y"][0]) for task in kept] == [0, 2, 3, 5]
    assert busy[1].cancelled()
    assert queued[1].cancelled()
    assert rig.observer.batches == [3, 2]


async def test_one_failing_item_fails_alone(rig):
    tasks = [rig.submit(number) for number in (1, -1, 2)]
    rig.gate.open()
    good, bad, other = await asyncio.gather(*tasks, return_exceptions=True)
    assert (int(good.outputs["y"][0]), int(other.outputs["y"][0])) == (1, 2)
    assert isinstance(bad, InferenceError)
    assert rig.observer.failed == 1


async def test_items_past_their_deadline_are_dropped_before_compute(rig):
    first = await rig.occupy()
    late, kept = rig.submit(1, deadline=5.0), rig.submit(2, deadline=50.0)
    await settle()
    rig.clock.now = 6.0
    rig.gate.open()
    with pytest.raises(DeadlineError):
        await late
    assert int((await kept).outputs["y"][0]) == 2
    assert rig.observer.dropped == [DropReason.DEADLINE]
    assert rig.observer.batches == [1, 1]
    assert (await first).queue_s == 0.0


async def test_a_caller_that_leaves_at_its_deadline_is_counted_so(rig):
    first = await rig.occupy()
    late = rig.submit(1, deadline=5.0)
    await settle()
    rig.clock.now = 5.0
    late.cancel()
    await settle()
    assert rig.observer.dropped == [DropReason.DEADLINE]
    rig.gate.open()
    await first


async def test_a_crashed_batch_fails_its_own_items_and_the_queue_goes_on(rig, caplog):
    first = await rig.occupy()
    second = rig.submit(1)
    await settle()
    rig.gate.fault = SystemExit("worker died")
    with caplog.at_level(logging.CRITICAL):
        rig.gate.open()
        with pytest.raises(InternalError):
            await first
    assert int((await second).outputs["y"][0]) == 1
    assert rig.observer.crashes == 1
    assert rig.batcher.alive()


async def test_a_full_queue_refuses_at_once():
    rig = Rig(admission=AdmissionSettings(max_queue_cost=2))
    first = await rig.occupy()
    second = rig.submit(1)
    await settle()
    with pytest.raises(OverloadedError):
        await rig.batcher.submit(item(2), lane=Lane.INTERACTIVE, deadline=None)
    rig.gate.open()
    await asyncio.gather(first, second)
    await rig.batcher.close()


async def test_busy_since_tells_how_long_a_batch_runs_even_when_its_caller_has_left(rig):
    rig.clock.now = 7.0
    first = await rig.occupy()
    first.cancel()
    await settle()
    assert rig.batcher.busy_since() == 7.0
    rig.gate.open()
    assert await rig.batcher.run_alone(lambda: "canary") == "canary"
    assert rig.batcher.busy_since() is None


async def test_two_workers_compute_two_batches_at_a_time():
    rig = Rig(workers=2, max_items=1)
    tasks = [rig.submit(number) for number in range(2)]
    await rig.gate.wait_entered()
    await rig.gate.wait_entered()
    rig.gate.open()
    assert [int((await task).outputs["y"][0]) for task in tasks] == [0, 1]
    await rig.batcher.close()


async def test_closing_tells_everyone_who_waits(rig):
    first = await rig.occupy()
    second = rig.submit(1)
    await settle()
    await rig.batcher.close()
    for task in (first, second):
        with pytest.raises(UnavailableError):
            await task
    assert rig.observer.dropped == [DropReason.CLOSED]
    assert rig.observer.queue[-1] == (0, 0)
    with pytest.raises(UnavailableError):
        await rig.batcher.submit(item(2), lane=Lane.INTERACTIVE, deadline=None)
