"""Lets requests join and leave the texts that a decoder writes, between two of its steps. Callers await on the loop.

In each round whoever has gone leaves, whoever waits and fits joins, and every text grows by one token. A request thus
waits for one step, not for the texts of others, and one that is cancelled frees its place at the next step.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from vlp_pipeline.generation import GeneratedText
from vlp_pipeline.generative import LookedAt
from vlp_spec.errors import DeadlineError, InternalError, UnavailableError, VlpError

from vlp_server.core.engine_thread import EngineThread
from vlp_server.core.records import Timings
from vlp_server.core.running_texts import RunningTexts, Said, TextToWrite
from vlp_server.core.scheduler import DropReason
from vlp_server.core.unavailable import copied, stopping
from vlp_server.core.urgency import Urgency
from vlp_server.core.waiting_texts import WaitingTexts

logger = logging.getLogger(__name__)
T = TypeVar("T")
_MS = 1000.0
_ANSWERS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Written:
    """The texts of one request.

    Attributes:
        texts: best first.
        queue_s: from asking until its beginning was read.
        infer_s: from then to the end, steps of others included.
        batch_rows: most rows that were written side by side meanwhile.
    """

    texts: tuple[GeneratedText, ...]
    queue_s: float
    infer_s: float
    batch_rows: int

    @property
    def timings(self) -> Timings:
        """The same as a request's timings."""
        return Timings(queue_ms=self.queue_s * _MS, infer_ms=self.infer_s * _MS, batch_items=self.batch_rows)


class DecoderObserver(Protocol):
    """Who is told what the loop does; called on the event loop, must return at once and raise nothing."""

    def round_done(self, joined: Sequence[TextToWrite], left: Sequence[TextToWrite], rows: int, tokens: int) -> None:
        """A round has ended: who joined in it, who left in or before it, rows written, tokens settled."""

    def waiting_changed(self, items: int, cost: int) -> None:
        """So much waits to join."""

    def text_dropped(self, reason: DropReason) -> None:
        """A text left before it was done, and nobody gets it."""

    def round_failed(self, texts: int, failed: int) -> None:
        """Of so many texts of a round so many failed; called only where some did."""

    def worker_crashed(self) -> None:
        """A round ended in a fault of ours; its texts are lost, and the loop goes on."""


@dataclass(slots=True, eq=False)
class _Asked:
    """A request for texts, from asking to leaving."""

    text: TextToWrite
    urgency: Urgency
    asked: float
    began: float = 0.0
    batch_rows: int = 0
    running: bool = False
    gone: bool = False
    news: asyncio.Queue[tuple[int, ...] | Written | VlpError] = field(default_factory=asyncio.Queue)


class DecoderLoop:
    """The one who writes with one decoder. All methods belong to one event loop.

    Args:
        name: of the thread, for debuggers.
        texts: blocking; the texts under way.
        waiting: those that have not joined.
        max_rows: rows that are written side by side at most, beams counted; a request with more is written alone.
        observer: is told of every round.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        texts: RunningTexts,
        waiting: WaitingTexts,
        observer: DecoderObserver,
        *,
        max_rows: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._texts = texts
        self._waiting = waiting
        self._observer = observer
        self._max_rows = max_rows
        self._clock = clock
        self._thread = EngineThread(name, clock)
        self._asked: dict[TextToWrite, _Asked] = {}
        self._running: dict[TextToWrite, _Asked] = {}
        self._work_there = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._distrusted: UnavailableError | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._work())

    async def write(self, text: TextToWrite, urgency: Urgency) -> AsyncGenerator[tuple[int, ...] | Written]:
        """Write a text: settled tokens as they come, and last of all the whole. Closing it early frees the place.

        Raises:
            OverloadedError: too much waits.
            DeadlineError: its deadline passed before it was done.
            InferenceError: the model failed on this text.
            InternalError: the loop crashed.
            UnavailableError: the loop has been closed, or is told meanwhile to distrust its model.
        """
        if self._closed:
            raise stopping()
        if self._distrusted is not None:
            raise copied(self._distrusted)
        self._waiting.add(text, urgency)
        asked = self._asked[text] = _Asked(text, urgency, self._clock())
        self._tell_waiting()
        self._work_there.set()
        try:
            while True:
                news = await asked.news.get()
                if isinstance(news, VlpError):
                    raise news
                yield news
                if isinstance(news, Written):
                    return
        finally:
            self._asked.pop(text, None)
            asked.gone = True
            if self._waiting.remove(text):
                self._observer.text_dropped(DropReason.CANCELLED)
                self._tell_waiting()

    async def log_probabilities(
        self, looked_at: LookedAt, answer_ids: np.ndarray, lengths: np.ndarray, urgency: Urgency
    ) -> np.ndarray:
        """How likely the decoder would write each of some answers.

        Args:
            looked_at: what it looks at.
            answer_ids: (answers, tokens) int32, each with its start and end, padded behind.
            lengths: (answers,) int32, real tokens of each.

        Returns:
            (answers,) float64, natural logarithms.

        Raises:
            VlpError: as `write`.
        """
        found = []
        for start in range(0, len(answer_ids), _ANSWERS_AT_ONCE):
            if self._closed:
                raise stopping()
            if self._distrusted is not None:
                raise copied(self._distrusted)
            if self._clock() >= urgency.deadline:
                raise DeadlineError("the deadline passed before all answers were weighed")
            part = slice(start, start + _ANSWERS_AT_ONCE)
            weigh = functools.partial(self._texts.weigh, looked_at, answer_ids[part], lengths[part])
            found.append(await self._thread.run(weigh))
        return np.concatenate(found)

    async def run_alone(self, call: Callable[[], T]) -> T:
        """Run something else in the engine thread, between rounds, such as a canary."""
        return await self._thread.run(call)

    def distrust(self, reason: UnavailableError) -> None:
        """Fail all texts, and whatever is asked from now on, until `trust`."""
        self._distrusted = reason
        self._fail_all(reason, DropReason.DISTRUSTED)

    def trust(self) -> None:
        """Write again."""
        self._distrusted = None

    def busy_since(self) -> float | None:
        """When the call that is under way was started, on the loop's clock; None when idle."""
        return self._thread.busy_since()

    def retry_after_s(self) -> float:
        """Seconds after which what waits now should have been written."""
        return self._waiting.retry_after_s()

    def alive(self) -> bool:
        """Whether the loop is there."""
        return self._task is None or not self._task.done()

    async def close(self) -> None:
        """Stop; callers get UnavailableError. A round in the engine is not waited for."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._fail_all(stopping(), DropReason.CLOSED)
        self._thread.close()

    async def _work(self) -> None:
        """Rounds, as long as there are texts. Only being cancelled ends it."""
        while True:
            left = self._let_go()
            joining = self._next_to_join()
            if not self._running and not left:
                self._work_there.clear()
                await self._work_there.wait()
                continue
            try:
                await self._round(joining, left)
            except Exception as error:
                # No text's own fault, or it would have come as one. All texts under way have lost their states.
                logger.exception("a round of %d texts failed: %r", len(self._running), error)
                self._observer.worker_crashed()
                await self._thread.run(self._texts.clear)
                for asked in self._running.values():
                    asked.news.put_nowait(InternalError(detail=repr(error)))
                self._running.clear()

    async def _round(self, joining: Sequence[TextToWrite], left: Sequence[TextToWrite]) -> None:
        started = self._clock()

        def run() -> tuple[list[Said], int]:
            self._texts.leave(left)
            said = self._texts.step()
            if joining:
                said += self._texts.begin(joining)
            return said, self._texts.rows

        said, _ = await self._thread.run(run)
        rows = sum(asked.text.rows for asked in self._running.values())
        tokens = 0
        for one in said:
            tokens += len(one.tokens)
            self._deliver(one, rows)
        self._waiting.drain_rate.observe(rows, self._clock() - started)
        failed = sum(one.fault is not None for one in said)
        if failed:
            self._observer.round_failed(len(said), failed)
        gone = [one.text for one in said if one.has_left]
        self._observer.round_done(joining, [*left, *gone], rows, tokens)

    def _deliver(self, said: Said, rows: int) -> None:
        asked = self._running.get(said.text)
        if asked is None:
            return
        asked.batch_rows = max(asked.batch_rows, rows)
        if said.fault is not None:
            asked.news.put_nowait(said.fault)
        else:
            if said.tokens:
                asked.news.put_nowait(said.tokens)
            if said.texts is not None:
                now = self._clock()
                written = Written(said.texts, asked.began - asked.asked, now - asked.began, asked.batch_rows)
                asked.news.put_nowait(written)
        if said.has_left:
            del self._running[said.text]

    def _let_go(self) -> list[TextToWrite]:
        """Texts under way that nobody waits for any more, or whose time is over; and those that waited too long."""
        now = self._clock()
        for text in self._waiting.drop_expired(now):
            self._expire(self._asked.get(text))
        left = []
        for text, asked in list(self._running.items()):
            if asked.gone:
                self._observer.text_dropped(DropReason.CANCELLED)
            elif now >= asked.urgency.deadline:
                self._expire(asked)
            else:
                continue
            left.append(text)
            del self._running[text]
        return left

    def _expire(self, asked: _Asked | None) -> None:
        self._observer.text_dropped(DropReason.DEADLINE)
        if asked is not None:
            asked.news.put_nowait(DeadlineError("the deadline passed before the text was written"))

    def _next_to_join(self) -> list[TextToWrite]:
        """Who joins in this round."""
        rows = sum(text.rows for text in self._running)
        joining = self._waiting.take(self._max_rows - rows, alone=not self._running)
        now = self._clock()
        for text in joining:
            asked = self._asked[text]
            asked.began = now
            self._running[text] = asked
        if joining:
            self._tell_waiting()
        return joining

    def _fail_all(self, reason: UnavailableError, why: DropReason) -> None:
        for text in self._waiting.clear():
            self._observer.text_dropped(why)
            self._tell(text, reason)
        for asked in self._running.values():
            self._observer.text_dropped(why)
            asked.gone = True  # leaves in the next round
            asked.news.put_nowait(copied(reason))
        self._tell_waiting()
        self._work_there.set()

    def _tell(self, text: TextToWrite, reason: UnavailableError) -> None:
        if (asked := self._asked.get(text)) is not None:
            asked.news.put_nowait(copied(reason))

    def _tell_waiting(self) -> None:
        self._observer.waiting_changed(len(self._waiting), self._waiting.cost)
