"""The next batch is built while the model works on this one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

Built = TypeVar("Built")


class Prefetcher(Generic[Built]):
    """Builds numbered batches one ahead, in a thread of its own.

    Args:
        build: number -> batch; a pure function, called from one thread only.
    """

    def __init__(self, build: Callable[[int], Built]) -> None:
        self._build = build
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: tuple[int, Future[Built]] | None = None

    def get(self, number: int) -> Built:
        """Batch `number`; the one after it is started."""
        if self._ahead is None or self._ahead[0] != number:
            self._ahead = (number, self._pool.submit(self._build, number))
        batch = self._ahead[1].result()
        self._ahead = (number + 1, self._pool.submit(self._build, number + 1))
        return batch

    def __enter__(self) -> Prefetcher[Built]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
