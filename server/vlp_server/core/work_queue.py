"""What waits for one graph, as its model sees it: a batcher's, a decoder's, or that of an engine elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from vlp_pipeline.pipeline import Item
from vlp_spec.errors import UnavailableError
from vlp_spec.tasks import Lane

from vlp_server.core.batcher import Computed

T = TypeVar("T")


class WorkQueue(Protocol):
    """Life and state of a queue. All methods belong to one event loop."""

    def start(self) -> None:
        """Begin to work."""

    async def run_alone(self, call: Callable[[], T]) -> T:
        """Run something else in an engine thread, between batches, such as a canary."""

    def distrust(self, reason: UnavailableError) -> None:
        """Fail what waits, and whatever comes from now on, until `trust`."""

    def trust(self) -> None:
        """Take work again."""

    def busy_since(self) -> float | None:
        """When the oldest call that is under way was started; None when idle."""

    def retry_after_s(self) -> float:
        """Seconds after which what is queued now should be done."""

    def alive(self) -> bool:
        """Whether every worker is there."""

    async def close(self) -> None:
        """Stop; waiting callers get UnavailableError."""


class ItemQueue(WorkQueue, Protocol):
    """A queue of rows."""

    async def submit(self, item: Item, *, lane: Lane, deadline: float | None) -> Computed:
        """Queue an item and wait for its outputs; errors as Batcher.submit."""
