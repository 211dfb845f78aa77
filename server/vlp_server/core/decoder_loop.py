"""Lets requests join and leave the texts that a decoder writes, between two of its steps. Callers await on the loop.

In each round whoever has gone leaves, every text grows by one token, whoever waits and fits joins, and at most one part
of a closed list is weighed. A request thus waits for a round, not for the texts of others, and one that is cancelled
frees its place in the next.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from vlp_pipeline.generation import GeneratedText
from vlp_spec.errors import DeadlineError, InferenceError, InternalError, UnavailableError, VlpError

from vlp_server.core.engine_thread import EngineThread
from vlp_server.core.records import Timings
from vlp_server.core.running_texts import READ_TOKENS, AnswersToWeigh, RunningTexts, Said, TextToWrite
from vlp_server.core.scheduler import DropReason
from vlp_server.core.unavailable import copied, stopping
from vlp_server.core.urgency import Urgency
from vlp_server.core.waiting_texts import WaitingTexts

logger = logging.getLogger(__name__)
T = TypeVar("T")
_MS = 1000.0
# The event loop may fire a timer a little before its time; a caller who leaves then has left for its deadline.
_TIMER_SLACK_S = 0.005
_LATE = "the deadline passed before the text was written"


@dataclass(frozen=True, slots=True)
class Written:
    """The texts of one request.

    Attributes:
        texts: best first.
        queue_s: from asking until it joined.
        infer_s: from then to the end, steps of others included.
        batch_rows: most texts that were written side by side meanwhile, beams counted.
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
        """So much waits to join, or to be weighed."""

    def text_dropped(self, reason: DropReason) -> None:
        """A request left before it was done, and nobody gets it."""

    def round_failed(self, texts: int, failed: int) -> None:
        """Of so many requests of a round so many failed; called only where some did."""

    def worker_crashed(self) -> None:
        """A round ended in a fault of ours; its texts are lost, and the loop goes on."""


_News = tuple[int, ...] | Written | NDArray[np.float64] | VlpError


@dataclass(slots=True, eq=False)
class _Request:
    """A text, or answers to weigh, from asking to leaving."""

    wanted: TextToWrite | AnswersToWeigh
    urgency: Urgency
    asked: float
    joined: float = 0.0
    batch_rows: int = 0
    gone: bool = False
    dropped: bool = False
    news: asyncio.Queue[_News] = field(default_factory=asyncio.Queue)


class DecoderLoop:
    """The one who writes with one decoder. All methods belong to one event loop.

    Args:
        name: of the thread, for debuggers.
        texts: blocking; the texts under way.
        queues: of texts that have not joined, and of answers that have not been weighed.
        observer: is told of every round.
        max_rows: texts that are written side by side at most, beams counted; a request with more is written alone.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        texts: RunningTexts,
        queues: tuple[WaitingTexts[TextToWrite], WaitingTexts[AnswersToWeigh]],
        observer: DecoderObserver,
        *,
        max_rows: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._texts = texts
        self._to_write, self._to_weigh = queues
        self._observer = observer
        self._max_rows = max_rows
        self._clock = clock
        self._thread = EngineThread(name, clock)
        self._requests: dict[Any, _Request] = {}
        self._running: dict[TextToWrite, _Request] = {}
        self._weighed: _Request | None = None
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
        request = self._ask(self._to_write, text, urgency)
        try:
            while True:
                news = await self._next_news(request)
                if isinstance(news, Written):
                    yield news
                    return
                if isinstance(news, tuple):
                    yield news
        finally:
            self._leave(self._to_write, request)

    async def log_probabilities(self, answers: AnswersToWeigh, urgency: Urgency) -> NDArray[np.float64]:
        """How likely the decoder would write each of some answers.

        They are weighed in parts of like lengths, one a round, so that texts go on between them.

        Returns:
            (answers,) float64, natural logarithms.

        Raises:
            VlpError: as `write`.
        """
        found = np.zeros(answers.rows)
        for part in _parts(answers.lengths):
            lengths = answers.lengths[part]
            wanted = replace(answers, answer_ids=answers.answer_ids[part, : int(lengths.max())], lengths=lengths)
            request = self._ask(self._to_weigh, wanted, urgency)
            try:
                news = await self._next_news(request)
            finally:
                self._leave(self._to_weigh, request)
            if not isinstance(news, np.ndarray):
                raise InternalError(detail=f"answers were weighed and came back as {type(news).__name__}")
            found[part] = news
        return found

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
        return max(self._to_write.retry_after_s(), self._to_weigh.retry_after_s())

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

    def _ask(self, queue: WaitingTexts[Any], wanted: TextToWrite | AnswersToWeigh, urgency: Urgency) -> _Request:
        if self._closed:
            raise stopping()
        if self._distrusted is not None:
            raise copied(self._distrusted)
        now = self._clock()
        if now >= urgency.deadline:
            raise DeadlineError(_LATE)
        queue.add(wanted, urgency)
        request = self._requests[wanted] = _Request(wanted, urgency, now)
        self._tell_waiting()
        self._work_there.set()
        return request

    async def _next_news(self, request: _Request) -> _News:
        news = await request.news.get()
        if isinstance(news, VlpError):
            raise news
        if self._distrusted is not None:  # since the news was sent
            raise copied(self._distrusted)
        return news

    def _leave(self, queue: WaitingTexts[Any], request: _Request) -> None:
        """The caller has what it wanted, or has gone."""
        self._requests.pop(request.wanted, None)
        request.gone = True
        if queue.remove(request.wanted):
            self._drop(request, self._why_gone(request))
            self._tell_waiting()

    async def _work(self) -> None:
        """Rounds, as long as there is work. Only being cancelled ends it."""
        while True:
            left = self._let_go()
            joining, self._weighed = self._next_to_join(), self._next_to_weigh()
            if not (self._running or left or self._weighed):
                self._work_there.clear()
                await self._work_there.wait()
                continue
            try:
                await self._round(joining, left)
            except Exception as error:
                await self._crash(error)

    async def _round(self, joining: Sequence[TextToWrite], left: Sequence[TextToWrite]) -> None:
        started = self._clock()
        weighed = self._weighed.wanted if self._weighed is not None else None

        def run() -> tuple[list[Said], NDArray[np.float64] | InferenceError | None]:
            self._texts.leave(left)
            said = self._texts.step()
            if joining:
                said += self._texts.begin(joining)
            return said, self._texts.weigh(weighed) if isinstance(weighed, AnswersToWeigh) else None

        said, answers = await self._thread.run(run)
        rows = sum(text.rows for text in self._running)
        for one in said:
            self._deliver(one, rows)
        if self._weighed is not None and answers is not None:
            self._weighed.news.put_nowait(answers)
            self._weighed = None
        faults = sum(one.fault is not None for one in said) + isinstance(answers, InferenceError)
        if faults:
            self._observer.round_failed(len(said) + (answers is not None), faults)
        seconds = self._clock() - started
        if rows:
            self._to_write.drain_rate.observe(rows, seconds)
        if weighed is not None:
            self._to_weigh.drain_rate.observe(weighed.rows * weighed.positions, seconds)
        gone = [one.text for one in said if one.has_left]
        self._observer.round_done(joining, [*left, *gone], rows, sum(len(one.tokens) for one in said))

    def _deliver(self, said: Said, rows: int) -> None:
        request = self._running.get(said.text)
        if request is None:
            return
        request.batch_rows = max(request.batch_rows, rows)
        if said.fault is not None:
            request.news.put_nowait(said.fault)
        elif said.tokens:
            request.news.put_nowait(said.tokens)
        if said.texts is not None:
            now = self._clock()
            request.news.put_nowait(
                Written(said.texts, request.joined - request.asked, now - request.joined, request.batch_rows)
            )
        if said.has_left:
            del self._running[said.text]

    async def _crash(self, error: Exception) -> None:
        """No text's own fault, or it would have come as one. All texts under way have lost their states."""
        lost = [*self._running.values(), *([] if self._weighed is None else [self._weighed])]
        logger.exception("a round of %d requests failed: %r", len(lost), error)
        self._observer.worker_crashed()
        self._observer.round_failed(len(lost), len(lost))
        for request in lost:
            request.news.put_nowait(InternalError(detail=repr(error)))
        self._running.clear()
        self._weighed = None
        await self._thread.run(self._texts.clear)

    def _let_go(self) -> list[TextToWrite]:
        """Texts under way that nobody waits for any more, or whose time is over; what waited too long goes, too."""
        now = self._clock()
        expired = [*self._to_write.drop_expired(now), *self._to_weigh.drop_expired(now)]
        for wanted in expired:
            self._expire(self._requests[wanted])
        if expired:
            self._tell_waiting()
        left = []
        for text, request in list(self._running.items()):
            if request.gone:
                self._drop(request, self._why_gone(request))
            elif now >= request.urgency.deadline:
                self._expire(request)
            else:
                continue
            left.append(text)
            del self._running[text]
        return left

    def _expire(self, request: _Request) -> None:
        self._drop(request, DropReason.DEADLINE)
        request.news.put_nowait(DeadlineError(_LATE))

    def _next_to_join(self) -> list[TextToWrite]:
        """Who joins in this round."""
        rows = sum(text.rows for text in self._running)
        joining = self._to_write.take(self._max_rows - rows, alone=not self._running)
        for text in joining:
            self._running[text] = self._requests[text]
            self._running[text].joined = self._clock()
        if joining:
            self._tell_waiting()
        return joining

    def _next_to_weigh(self) -> _Request | None:
        """Which answers are weighed in this round."""
        taken = self._to_weigh.take(0, alone=True)
        if not taken:
            return None
        self._tell_waiting()
        return self._requests[taken[0]]

    def _fail_all(self, reason: UnavailableError, why: DropReason) -> None:
        for wanted in [*self._to_write.clear(), *self._to_weigh.clear()]:
            self._fail(self._requests[wanted], reason, why)
        for request in [*self._running.values(), *([] if self._weighed is None else [self._weighed])]:
            request.gone = True  # leaves in the next round
            self._fail(request, reason, why)
        self._tell_waiting()
        self._work_there.set()

    def _fail(self, request: _Request, reason: UnavailableError, why: DropReason) -> None:
        self._drop(request, why)
        request.news.put_nowait(copied(reason))

    def _drop(self, request: _Request, why: DropReason) -> None:
        """Tell, once, that nobody gets it."""
        if not request.dropped:
            request.dropped = True
            self._observer.text_dropped(why)

    def _why_gone(self, request: _Request) -> DropReason:
        late = self._clock() + _TIMER_SLACK_S >= request.urgency.deadline
        return DropReason.DEADLINE if late else DropReason.CANCELLED

    def _tell_waiting(self) -> None:
        items, cost = len(self._to_write) + len(self._to_weigh), self._to_write.cost + self._to_weigh.cost
        self._observer.waiting_changed(items, cost)


def _parts(lengths: NDArray[np.int32]) -> Iterator[NDArray[np.intp]]:
    """Numbers of answers, shortest first, in parts whose padded area is within `READ_TOKENS`."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (end + 1 - start) * int(lengths[order[end]]) > READ_TOKENS:
            yield order[start:end]
            start = end
