import asyncio

import numpy as np
import pytest
from service_rig import settle, until
from vlp_pipeline.pipeline import Item
from vlp_server.core.remote_queue import RemoteQueue
from vlp_server.core.scheduler import DropReason
from vlp_server.core.settings import AdmissionSettings
from vlp_spec.errors import DeadlineError, InferenceError, InternalError, OverloadedError, UnavailableError
from vlp_spec.tasks import Lane

COST = 2  # of an item: its text of two tokens
REASON = UnavailableError("model 'm' is not ready: its canary is off", retry_after_s=30.0)


class Observer:
    def __init__(self):
        self.queue, self.finished, self.dropped = [], [], []

    def queue_changed(self, items, cost):
        self.queue.append((items, cost))

    def batch_finished(self, items, failed):
        self.finished.append((items, failed))

    def item_dropped(self, reason):
        self.dropped.append(reason)


class There:
    """What computes elsewhere: each call waits until it is answered, by its number, with an output or an error."""

    def __init__(self):
        self.terms, self.answers, self.left = [], {}, []

    async def infer(self, feeds, terms):
        number = int(feeds["x"][0])
        self.terms.append((number, terms))
        answer = self.answers.setdefault(number, asyncio.get_running_loop().create_future())
        try:
            return await answer
        except asyncio.CancelledError:
            self.left.append(number)
            raise

    def numbers(self):
        return [number for number, _ in self.terms]


class Rig:
    def __init__(self, parallel=2, **admission):
        self.there, self.observer, self.now = There(), Observer(), 0.0
        self.queue = RemoteQueue(
            "t",
            lambda item: {name: array[None] for name, array in item.arrays.items()},
            self.there.infer,
            AdmissionSettings(**admission),
            self.observer,
            parallel=parallel,
            clock=lambda: self.now,
        )
        self.queue.start()

    async def submit(self, number, lane=Lane.INTERACTIVE, deadline=None):
        """A task that has come as far as it can."""
        item = Item({"x": np.array(number)}, {"text": COST})
        task = asyncio.create_task(self.queue.submit(item, lane=lane, deadline=deadline))
        await settle(5)
        return task

    async def answer(self, number, outputs=None):
        answer = self.there.answers[number]
        if isinstance(outputs, BaseException):
            answer.set_exception(outputs)
        else:
            answer.set_result({"y": np.array([[float(number)]])} if outputs is None else outputs)
        await settle(5)


@pytest.fixture
async def rig():
    made = Rig()
    yield made
    await made.queue.close()
    assert made.observer.queue[-1:] in ([], [(0, 0)])


async def test_an_item_goes_alone_and_comes_back_as_its_row(rig):
    task = await rig.submit(3)
    rig.now = 0.25
    await rig.answer(3)
    computed = await task
    np.testing.assert_array_equal(computed.outputs["y"], [3.0])
    assert (computed.queue_s, computed.infer_s, computed.batch_items) == (0.0, 0.25, 1)
    assert rig.observer.finished == [(1, 0)]
    assert rig.observer.queue == [(1, COST), (0, 0)]


async def test_so_many_are_under_way_and_the_rest_wait_in_their_order(rig):
    tasks = [await rig.submit(number) for number in range(5)]
    assert rig.there.numbers() == [0, 1]
    rig.now = 2.0
    await rig.answer(1)
    assert rig.there.numbers() == [0, 1, 2]
    for number in (2, 0, 3, 4):
        await rig.answer(number)
    computed = [await task for task in tasks]
    assert [float(one.outputs["y"][0]) for one in computed] == [0, 1, 2, 3, 4]
    assert [one.queue_s for one in computed] == [0, 0, 2, 2, 2]


async def test_time_that_was_spent_waiting_is_not_there_any_more(rig):
    for number in range(2):
        await rig.submit(number, deadline=50.0)
    late = await rig.submit(2, Lane.BULK, deadline=10.0)
    rig.now = 4.0
    await rig.answer(0)
    await rig.answer(1)
    assert [(terms.timeout_s, terms.lane) for _, terms in rig.there.terms] == [
        (50.0, Lane.INTERACTIVE),
        (50.0, Lane.INTERACTIVE),
        (6.0, Lane.BULK),
    ]
    await rig.answer(2)
    await late


async def test_an_item_without_a_deadline_has_the_default_one():
    rig = Rig(default_timeout_s=7.0)
    task = await rig.submit(0)
    ((_, terms),) = rig.there.terms
    assert terms.timeout_s == 7.0
    await rig.answer(0)
    await task
    await rig.queue.close()


@pytest.mark.parametrize("now", [10.0, 11.0])
async def test_a_deadline_that_passed_while_it_waited_costs_no_call(rig, now):
    busy = [await rig.submit(number, deadline=50.0) for number in range(2)]
    late, next_one = await rig.submit(2, deadline=10.0), await rig.submit(3, deadline=50.0)
    rig.now = now
    await rig.answer(0)
    with pytest.raises(DeadlineError, match="waited"):
        await late
    assert rig.observer.dropped == [DropReason.DEADLINE]
    assert rig.there.numbers() == [0, 1, 3]  # its place was the next one's
    for number in (1, 3):
        await rig.answer(number)
    await asyncio.gather(*busy, next_one)
    assert rig.observer.finished == [(1, 0)] * 3


async def test_what_may_wait_is_bounded_by_cost():
    rig = Rig(parallel=1, max_queue_cost=3 * COST)
    tasks = [await rig.submit(number) for number in range(3)]
    refused = await rig.submit(3)
    with pytest.raises(OverloadedError) as caught:
        await refused
    assert caught.value.retry_after_s >= 1
    assert rig.there.numbers() == [0]
    await rig.answer(0)
    tasks.append(await rig.submit(4))
    for number in (1, 2, 4):
        await rig.answer(number)
    await asyncio.gather(*tasks)
    assert max(cost for _, cost in rig.observer.queue) == 3 * COST
    await rig.queue.close()


async def test_one_that_is_larger_than_the_whole_bound_goes_when_nothing_else_is_there():
    rig = Rig(max_queue_cost=1)
    task = await rig.submit(0)
    with pytest.raises(OverloadedError):
        await (await rig.submit(1))
    await rig.answer(0)
    assert float((await task).outputs["y"][0]) == 0.0
    await rig.queue.close()


async def test_bulk_work_fills_its_share_alone():
    rig = Rig(parallel=4, max_queue_cost=4 * COST, bulk_share=0.5)
    tasks = [await rig.submit(number, Lane.BULK) for number in range(2)]
    with pytest.raises(OverloadedError, match="full"):
        await (await rig.submit(2, Lane.BULK))
    tasks += [await rig.submit(number) for number in (3, 4)]
    with pytest.raises(OverloadedError):
        await (await rig.submit(5))
    for number in (0, 1, 3, 4):
        await rig.answer(number)
    await asyncio.gather(*tasks)
    await rig.queue.close()


async def test_bulk_work_leaves_places_for_who_is_in_a_hurry():
    rig = Rig(parallel=4)
    tasks = [await rig.submit(number, Lane.BULK) for number in range(5)]
    assert rig.there.numbers() == [0, 1]
    tasks += [await rig.submit(number) for number in (10, 11, 12)]
    assert rig.there.numbers() == [0, 1, 10, 11]
    for number in (10, 11, 12, 0, 1, 2, 3, 4):
        await rig.answer(number)
    await asyncio.gather(*tasks)
    assert rig.there.numbers() == [0, 1, 10, 11, 12, 2, 3, 4]
    await rig.queue.close()


async def test_the_time_to_wait_follows_what_was_measured(rig):
    assert rig.queue.retry_after_s() == 1.0
    task = await rig.submit(0)
    rig.now = 8.0
    await rig.answer(0)
    await task
    for number in (1, 2, 3):
        await rig.submit(number)
    assert rig.queue.retry_after_s() == pytest.approx(12.0)  # three of 8 s, two at a time


@pytest.mark.parametrize("error", [InferenceError("bad"), OverloadedError("full"), UnavailableError("away")])
async def test_an_error_is_the_items_own(rig, error):
    failing, sound = await rig.submit(0), await rig.submit(1)
    await rig.answer(0, error)
    await rig.answer(1)
    with pytest.raises(type(error)) as caught:
        await failing
    assert caught.value is error
    await sound
    # Only what the graph failed on is a failed item; the way there says nothing about it.
    assert rig.observer.finished == [(1, int(isinstance(error, InferenceError))), (1, 0)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
async def test_a_row_that_is_not_finite_fails(rig, value):
    task = await rig.submit(0)
    await rig.answer(0, {"ids": np.array([[1]]), "y": np.array([[1.0, value]], np.float32)})
    with pytest.raises(InferenceError) as caught:
        await task
    assert "'y'" in caught.value.detail
    assert "'y'" not in caught.value.message
    assert rig.observer.finished == [(1, 1)]


@pytest.mark.parametrize(
    "outputs",
    [{"y": np.zeros((2, 1))}, {"y": np.zeros((0, 1))}, {"y": np.float32(1.0)}, {"y": None}],
    ids=["two", "none", "scalar", "absent"],
)
async def test_another_number_of_rows_is_a_fault_of_ours(rig, outputs):
    task = await rig.submit(0)
    await rig.answer(0, outputs)
    with pytest.raises(InternalError):
        await task
    assert rig.observer.finished == [(1, 0)]


@pytest.mark.parametrize(("now", "reason"), [(1.0, DropReason.CANCELLED), (10.0, DropReason.DEADLINE)])
async def test_who_leaves_gives_the_call_up_there(rig, now, reason):
    leaving, *others, waiting = [
        await rig.submit(number, deadline=deadline) for number, deadline in enumerate((10.0, 50.0, 50.0, 10.0))
    ]
    rig.now = now
    leaving.cancel()
    waiting.cancel()
    await settle(8)
    assert leaving.cancelled()
    assert waiting.cancelled()
    assert rig.there.left == [0]
    assert rig.observer.dropped == [reason, reason]
    for number in (1, 2):
        await rig.answer(number)
    assert [float((await task).outputs["y"][0]) for task in others] == [1, 2]
    assert rig.there.numbers() == [0, 1, 2]
    assert rig.observer.queue[-1] == (0, 0)


async def test_distrust_fails_what_is_under_way_and_what_comes_until_it_is_trusted_again(rig):
    tasks = [await rig.submit(number) for number in range(3)]
    rig.queue.distrust(REASON)
    for task in [*tasks, await rig.submit(3)]:
        with pytest.raises(UnavailableError, match="canary is off") as caught:
            await task
        assert caught.value.retry_after_s == 30.0
        assert caught.value is not REASON  # several callers must not share a traceback
    assert rig.there.left == [0, 1]
    assert rig.observer.dropped == [DropReason.DISTRUSTED] * 3
    rig.queue.trust()
    task = await rig.submit(4)
    await rig.answer(4)
    assert float((await task).outputs["y"][0]) == 4.0


async def test_distrust_reaches_what_has_come_back_and_was_not_handed_out(rig):
    task = await rig.submit(0)
    rig.there.answers[0].set_result({"y": np.zeros((1, 1))})
    for _ in range(20):
        if all(call.done() for call in rig.queue._calls):
            break
        await asyncio.sleep(0)
    rig.queue.distrust(REASON)
    with pytest.raises(UnavailableError, match="canary is off"):
        await task


async def test_distrust_that_is_taken_back_at_once_still_fails_what_was_under_way(rig):
    task = await rig.submit(0)
    rig.queue.distrust(REASON)
    rig.queue.trust()
    with pytest.raises(UnavailableError, match="canary is off"):
        await task


async def test_a_caller_who_leaves_a_distrusted_queue_has_left(rig):
    task = await rig.submit(0)
    rig.queue.distrust(REASON)
    task.cancel()
    await settle(8)
    assert task.cancelled()


async def test_closing_fails_all_and_for_good(rig):
    tasks = [await rig.submit(number) for number in range(3)]
    await rig.queue.close()
    rig.queue.trust()
    for task in [*tasks, await rig.submit(3)]:
        with pytest.raises(UnavailableError, match="stopping"):
            await task
    with pytest.raises(UnavailableError):
        await rig.queue.run_alone(lambda: 1)
    assert rig.there.numbers() == [0, 1]
    assert rig.observer.dropped == [DropReason.CLOSED] * 3


async def test_it_is_never_stuck_and_runs_a_canary_beside_what_is_under_way(rig):
    task = await rig.submit(0)
    rig.now = 1e6
    assert rig.queue.busy_since() is None
    assert rig.queue.alive()
    assert await rig.queue.run_alone(lambda: "canary") == "canary"
    await rig.answer(0)
    await until(task.done)
    await task
