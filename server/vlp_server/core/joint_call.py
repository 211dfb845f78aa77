"""Queries that are asked at the same moment go out in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from vlp_spec.errors import InferenceError, InternalError, InvalidArgumentError

Q = TypeVar("Q")
R = TypeVar("R")
_FAULTS_OF_ONE = 3


@dataclass(slots=True, eq=False)
class _Batch(Generic[Q, R]):
    queries: list[Q] = field(default_factory=list)
    waiters: int = 0
    task: asyncio.Task[list[R | Exception]] | None = None


class JointCall(Generic[Q, R]):
    """Gathers what is asked in one turn of the event loop, and sends it together. Belongs to one event loop.

    Whoever leaves stops nothing; when all have left, the call is given up. Where a call may have failed because of one
    query, its halves are sent by themselves, so that only the guilty one fails; where three that were sent alone have
    failed, the fault is taken for all that is left.

    Args:
        send: asks for several queries, which it takes at least one of; one result for each, in their order.
        limit: queries of one call.
    """

    def __init__(self, send: Callable[[Sequence[Q]], Coroutine[Any, Any, Sequence[R]]], limit: int) -> None:
        self._send = send
        self._limit = limit
        self._gathering: _Batch[Q, R] | None = None

    async def ask(self, query: Q) -> R:
        """The result of one query.

        Raises:
            Exception: as `send`; InternalError: it gave another number of results.
        """
        batch = self._gathering
        if batch is None or len(batch.queries) >= self._limit:
            batch = self._gathering = _Batch()
            batch.task = asyncio.create_task(self._send_gathered(batch))
        assert batch.task is not None
        place = len(batch.queries)
        batch.queries.append(query)
        batch.waiters += 1
        try:
            result = (await asyncio.shield(batch.task))[place]
        finally:
            batch.waiters -= 1
            if not batch.waiters and not batch.task.done():
                self._close(batch)
                batch.task.cancel()
        if isinstance(result, Exception):
            raise result
        return result

    async def _send_gathered(self, batch: _Batch[Q, R]) -> list[R | Exception]:
        await asyncio.sleep(0)  # who asks in this turn still joins
        self._close(batch)
        return await self._send_all(batch.queries, [])

    def _close(self, batch: _Batch[Q, R]) -> None:
        if self._gathering is batch:
            self._gathering = None

    async def _send_all(self, queries: Sequence[Q], failed_alone: list[Exception]) -> list[R | Exception]:
        if len(failed_alone) >= _FAULTS_OF_ONE:
            return [failed_alone[-1] for _ in queries]
        try:
            results = await self._send(queries)
        except (InvalidArgumentError, InferenceError) as error:
            if len(queries) == 1:
                failed_alone.append(error)
                return [error]
            halves = queries[: len(queries) // 2], queries[len(queries) // 2 :]
            return [one for half in halves for one in await self._send_all(half, failed_alone)]
        except Exception as error:
            return [error for _ in queries]
        if len(results) != len(queries):
            fault = InternalError(detail=f"{len(results)} results for {len(queries)} queries")
            return [fault for _ in queries]
        return list(results)
