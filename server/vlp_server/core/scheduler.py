"""Which queued items make the next batch. Pure: no clock, thread or event loop of its own; time comes as an argument.

There is no waiting time to tune: whoever runs batches asks for the next one as soon as the engine is free, and gets
the best that is there.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from vlp_pipeline.pipeline import TEXT_AXIS, TEXTS_AXIS, Item
from vlp_spec.errors import TooLargeError
from vlp_spec.tasks import Lane

from vlp_server.core.drain_rate import DrainRate
from vlp_server.core.queue_room import check_room
from vlp_server.core.settings import AdmissionSettings, BatchSettings

# Of 32 x 32 pixels in three colours: the patch that the queue's cost counts in.
_PATCH_BYTES = 3072


class DropReason(StrEnum):
    """Why an item left the queue without costing compute."""

    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    CLOSED = "closed"
    DISTRUSTED = "distrusted"


@dataclass(frozen=True, slots=True, eq=False)
class QueuedItem:
    """An item that waits. Compared by identity: equal pictures from two callers are two items.

    Attributes:
        deadline: seconds on the caller's clock; past it nobody wants the answer.
        enqueued: when it came, same clock.
        order: its place within its lane: earliest deadline first, then first come.
        cost: what it takes of the queue: text tokens + patches, and no less than its inputs weigh in patches.
    """

    item: Item
    lane: Lane
    deadline: float
    enqueued: float
    order: tuple[float, int]
    cost: int

    @property
    def area(self) -> int:
        """Entries of its dynamic axes."""
        return sum(_areas(self.item.sizes).values())


@dataclass(frozen=True, slots=True)
class Batch:
    """Items to compute together.

    Attributes:
        real_area: entries of all dynamic axes that hold content; 0 for a graph without any.
        padded_area: the same with padding; what the engine computes.
    """

    items: tuple[QueuedItem, ...]
    real_area: int
    padded_area: int

    @property
    def cost(self) -> int:
        """Of all its items."""
        return sum(queued.cost for queued in self.items)

    @property
    def padding_waste(self) -> float:
        """Share of the padded area that is padding, 0 to 1."""
        return 1.0 - self.real_area / self.padded_area if self.padded_area else 0.0


@dataclass(slots=True)
class _Draft:
    """A batch being put together, with the largest size of each axis so far."""

    budgets: Mapping[str, int]
    items: list[QueuedItem] = field(default_factory=list)
    largest: dict[str, int] = field(default_factory=dict)
    real_area: int = 0

    def grown(self, sizes: Mapping[str, int]) -> dict[str, int]:
        return {axis: max(size, self.largest.get(axis, 0)) for axis, size in sizes.items()}

    def fits(self, queued: QueuedItem, max_waste: float) -> bool:
        """Whether one more item keeps every axis in its budget and the padding below its share."""
        largest, count = self.grown(queued.item.sizes), len(self.items) + 1
        padded = _areas(largest)
        if any(area * count > self.budgets.get(axis, area * count) for axis, area in padded.items()):
            return False
        return (self.real_area + queued.area) >= (1.0 - max_waste) * sum(padded.values()) * count

    def add(self, queued: QueuedItem) -> None:
        self.largest = self.grown(queued.item.sizes)
        self.items.append(queued)
        self.real_area += queued.area

    def finish(self) -> Batch:
        return Batch(tuple(self.items), self.real_area, sum(_areas(self.largest).values()) * len(self.items))


class BatchScheduler:
    """The queue of one graph and its rules.

    - Two lanes: interactive items go before bulk items. While bulk items wait, every `bulk_every`-th batch is led and
      filled by them first, so they get at least that share of batches under any load.
    - Within a lane the earliest deadline goes first.
    - The first item leads; others join while count, padded area per axis and padding waste stay within their bounds.
      One that does not fit is passed over, not waited for, and leads a batch of its own length when its turn comes.
    - The queue is bounded by cost, not by count; bulk items may fill only a part of it.

    Args:
        batch: bounds of a batch.
        admission: bounds of the queue, and the deadline of items that bring none.
        max_items: of the graph's batch axis; the smaller of it and `batch.max_items` counts.
        workers: how many batches are computed at a time; for the estimate of waiting times only.
    """

    def __init__(
        self, batch: BatchSettings, admission: AdmissionSettings, *, max_items: int | None = None, workers: int = 1
    ) -> None:
        self._batch = batch
        self._admission = admission
        self._max_items = batch.max_items if max_items is None else min(batch.max_items, max_items)
        self._budgets = batch.area_budgets
        self._lanes: dict[Lane, list[QueuedItem]] = {lane: [] for lane in Lane}
        self._sequence = itertools.count()
        self._batches_without_bulk = 0
        self.drain_rate = DrainRate(workers)
        self.queued_cost = 0

    @property
    def queued_items(self) -> int:
        """How many items wait, both lanes."""
        return sum(len(lane) for lane in self._lanes.values())

    def add(self, item: Item, lane: Lane, deadline: float | None, now: float) -> QueuedItem:
        """Queue an item.

        Raises:
            TooLargeError: it is over the budget of a batch on its own, so it could never run.
            OverloadedError: the queue is full; carries the time in which it is expected to drain.
        """
        for axis, size in _areas(item.sizes).items():
            if size > self._budgets.get(axis, size):
                raise TooLargeError(
                    f"request: {size} {axis} in one item, this server computes at most {self._budgets[axis]} at a "
                    "time; send a smaller picture or a shorter text"
                )
        cost = cost_of(item)
        check_room(
            self._admission,
            lane,
            held=self.queued_cost,
            cost=cost,
            retry_after_s=self.retry_after_s,
            told=f"{self.queued_items} items of cost {self.queued_cost} wait in all lanes",
        )
        until = now + self._admission.default_timeout_s if deadline is None else deadline
        queued = QueuedItem(item, lane, until, now, (until, next(self._sequence)), cost)
        bisect.insort(self._lanes[lane], queued, key=_order)
        self.queued_cost += cost
        return queued

    def remove(self, queued: QueuedItem) -> bool:
        """Take an item out of the queue; False when it is not (or no longer) there."""
        lane = self._lanes[queued.lane]
        index = bisect.bisect_left(lane, queued.order, key=_order)
        if index == len(lane) or lane[index] is not queued:
            return False
        del lane[index]
        self.queued_cost -= queued.cost
        return True

    def drop_expired(self, now: float) -> list[QueuedItem]:
        """Take out every item whose deadline has come."""
        dropped: list[QueuedItem] = []
        for lane in self._lanes.values():
            count = bisect.bisect_right(lane, now, key=_deadline)
            dropped += lane[:count]
            del lane[:count]
        self.queued_cost -= sum(queued.cost for queued in dropped)
        return dropped

    def clear(self) -> list[QueuedItem]:
        """Take out everything."""
        everything = [queued for lane in self._lanes.values() for queued in lane]
        for lane in self._lanes.values():
            lane.clear()
        self.queued_cost = 0
        return everything

    def next_batch(self) -> Batch | None:
        """Take the next batch out of the queue; None when it is empty. Call `drop_expired` first."""
        first, second = self._lane_order()
        draft = _Draft(self._budgets)
        for queued in itertools.chain(self._lanes[first], self._lanes[second]):
            if len(draft.items) == self._max_items:
                break
            if not draft.items or draft.fits(queued, self._batch.max_padding_waste):
                draft.add(queued)
        if not draft.items:
            return None
        self._take(draft.items)
        return draft.finish()

    def retry_after_s(self) -> float:
        """Seconds after which the items that wait now are expected to be done, 1 to 60."""
        return self.drain_rate.seconds_for(self.queued_cost)

    def _lane_order(self) -> tuple[Lane, Lane]:
        """Which lane leads the next batch, counting the batches that passed bulk items over."""
        interactive, bulk = self._lanes[Lane.INTERACTIVE], self._lanes[Lane.BULK]
        if not interactive or (bulk and self._batches_without_bulk >= self._batch.bulk_every - 1):
            return Lane.BULK, Lane.INTERACTIVE
        return Lane.INTERACTIVE, Lane.BULK

    def _take(self, items: Sequence[QueuedItem]) -> None:
        bulk_waited = bool(self._lanes[Lane.BULK])
        taken = set(map(id, items))
        for lane in {queued.lane for queued in items}:
            self._lanes[lane] = list(_without(self._lanes[lane], taken))
        self.queued_cost -= sum(queued.cost for queued in items)
        led_by_bulk = items[0].lane is Lane.BULK
        self._batches_without_bulk = 0 if led_by_bulk or not bulk_waited else self._batches_without_bulk + 1


def _areas(sizes: Mapping[str, int]) -> dict[str, int]:
    """Entries by axis; several texts in one item are as many as their padded tokens."""
    texts = sizes.get(TEXTS_AXIS, 1)
    return {axis: size * texts if axis == TEXT_AXIS else size for axis, size in sizes.items() if axis != TEXTS_AXIS}


def cost_of(item: Item) -> int:
    """What an item takes of a queue: its area; of a picture of one fixed size its bytes stand for its patches."""
    if item.sizes:
        return max(1, sum(_areas(item.sizes).values()))
    return max(1, sum(array.nbytes for array in item.arrays.values()) // _PATCH_BYTES)


def _without(lane: Sequence[QueuedItem], taken: set[int]) -> Iterator[QueuedItem]:
    return (queued for queued in lane if id(queued) not in taken)


def _order(queued: QueuedItem) -> tuple[float, int]:
    return queued.order


def _deadline(queued: QueuedItem) -> float:
    return queued.deadline
