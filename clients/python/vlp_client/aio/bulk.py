"""A bulk run: any number of items, a bounded number of calls at a time, a result for each item."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from vlp_client.aio.pool import AsyncPool, Items, each
from vlp_client.aio.sending import AsyncSender
from vlp_client.bulk_records import BulkSettings, ItemResult, Outcome, Prepared, ResultOrder
from vlp_client.call_limits import CallLimits, read_call_limits
from vlp_client.calls import Call
from vlp_client.errors import JournalError, ServerError, VlpClientError
from vlp_client.journal import Journal
from vlp_client.progress import open_progress

T = TypeVar("T")
# One item of a call may be at fault for these; for others all are.
_OF_AN_ITEM = frozenset(
    {"invalid_image", "invalid_argument", "unsupported_media_type", "too_large", "inference_failed"}
)


class AsyncPlan(Protocol[T]):
    """What a bulk run does with its items."""

    @property
    def work(self) -> Mapping[str, Any]:
        """What is done, as a journal names it."""

    @property
    def counted(self) -> str | None:
        """As what the server counts a call's items, see `CallLimits.bounded`; None where a call takes one."""

    def prepare(self, item: Any) -> Prepared:
        """Read an item.

        Raises:
            OSError: its file cannot be read.
            TypeError: it is nothing that can be sent.
            ValueError: the same.
        """

    async def send(self, sender: AsyncSender, pool: AsyncPool[Any], group: Sequence[Prepared]) -> list[Outcome[T]]:
        """One call for a group; one outcome for each of it."""

    def to_json(self, value: T) -> Any:
        """A value as a journal keeps it."""

    def from_json(self, kept: Any) -> T:
        """What a journal kept."""


class AsyncBulk(Generic[T]):
    """One run.

    Args:
        sender: of the client.
        plan: what is done.
        settings: of the run.
    """

    def __init__(self, sender: AsyncSender, plan: AsyncPlan[T], settings: BulkSettings) -> None:
        self._plan, self._settings = plan, settings
        self._pool: AsyncPool[Any] = AsyncPool(settings.parallel)
        self._asking, self._sender = sender, sender.for_bulk(self._pool.sleep)
        self._limits: CallLimits | None = None
        self._order: ResultOrder[T] = ResultOrder(settings.ordered)
        self._journal: Journal | None = None
        self._group: list[tuple[int, Any, Prepared]] = []

    async def results(self, items: Items[Any]) -> AsyncGenerator[ItemResult[T], None]:
        """Go through the items, which are read as they are needed.

        Raises:
            JournalError: the journal cannot be gone on with.
            OSError: the journal cannot be opened or written.
        """
        settings, index = self._settings, 0
        total = len(items) if isinstance(items, Sized) else None
        if settings.journal is not None:
            self._journal = Journal(Path(settings.journal), self._plan.work)
        progress = open_progress(settings.progress, total, str(self._plan.work["verb"]))
        try:
            async for item in each(items):
                await self._admit(index, item)
                index += 1
                for result in self._order.take():
                    progress.update(1)
                    yield result
            await self._start_group()
            while self._pool.is_busy:
                await self._collect()
                for result in self._order.take():
                    progress.update(1)
                    yield result
        finally:
            await self._pool.aclose()
            progress.close()
            if self._journal is not None:
                self._journal.close()

    async def _admit(self, index: int, item: Any) -> None:
        """Read an item, and start calls; waits while too much is under way."""
        found = await self._pool.aside(functools.partial(self._look, index, item))
        if isinstance(found, ItemResult):
            self._order.put(found)
        else:
            if self._limits is None and self._plan.counted is not None:
                self._limits = await self._told_limits()
                self._settings = self._limits.bounded(self._settings, self._plan.counted)
            size = found.size_bytes + sum(prepared.size_bytes for _, _, prepared in self._group)
            if self._group and size > self._settings.batch_bytes:
                await self._start_group()
            self._group.append((index, item, found))
            if len(self._group) >= self._settings.batch:
                await self._start_group()
        while len(self._order) >= self._settings.held_results and self._order.is_waiting:
            if not self._pool.is_busy:
                await self._start_group()
            await self._collect()

    async def _told_limits(self) -> CallLimits:
        """What the server takes in a call; what it does not tell is found out by its refusals."""
        try:
            return await self._asking.call(Call(verb="models", read=read_call_limits))
        except VlpClientError:
            return CallLimits()

    def _look(self, index: int, item: Any) -> ItemResult[T] | Prepared:
        try:
            prepared = self._plan.prepare(item)
        except (OSError, TypeError, ValueError) as error:
            return ItemResult(index, item, error=error)
        kept = None if self._journal is None else self._journal.get(prepared.key)
        return prepared if kept is None else ItemResult(index, item, self._plan.from_json(kept), known=True)

    async def _start_group(self) -> None:
        group, self._group = self._group, []
        if not group:
            return
        while self._pool.is_full:
            await self._collect()
        self._pool.start(functools.partial(self._work, group))

    async def _collect(self) -> None:
        for results in await self._pool.first():
            for result in results:
                self._order.put(result)

    async def _work(self, group: Sequence[tuple[int, Any, Prepared]]) -> list[ItemResult[T]]:
        prepared = [one for _, _, one in group]
        outcomes = await self._outcomes(prepared)
        for one, outcome in zip(prepared, outcomes, strict=True):
            if self._journal is not None and outcome.error is None and outcome.value is not None:
                self._journal.put(one.key, outcome.model, self._plan.to_json(outcome.value))
        return [
            ItemResult(index, item, outcome.value, outcome.error, outcome.known)
            for (index, item, _), outcome in zip(group, outcomes, strict=True)
        ]

    async def _outcomes(self, group: Sequence[Prepared]) -> list[Outcome[T]]:
        """A call, or several where it is refused for the sake of one item."""
        try:
            return await self._plan.send(self._sender, self._pool, group)
        except JournalError:
            raise
        except (VlpClientError, TypeError, ValueError) as error:
            whole = len(group) == 1 or (isinstance(error, ServerError) and error.kind not in _OF_AN_ITEM)
            if whole or not isinstance(error, ServerError):
                return [Outcome(error=error) for _ in group]
        middle = len(group) // 2
        return await self._outcomes(group[:middle]) + await self._outcomes(group[middle:])
