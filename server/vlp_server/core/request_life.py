"""What every request goes through, whatever it asks: its model, the task, room, deadline, and the figures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from vlp_spec.errors import DeadlineError, ErrorKind, InternalError, TaskNotSupportedError, VlpError
from vlp_spec.tasks import Lane, Task

from vlp_server.core.admission import Admission
from vlp_server.core.metrics import SUCCESS, UNKNOWN_MODEL, Metrics
from vlp_server.core.records import Timings
from vlp_server.core.served_model import ServedModel
from vlp_server.core.settings import AdmissionSettings
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel

logger = logging.getLogger(__name__)


class Reply(Protocol):
    """What a request ends with."""

    @property
    def timings(self) -> Timings:
        """Where its time went."""


R = TypeVar("R", bound=Reply)
F = TypeVar("F")
S = TypeVar("S")
T = TypeVar("T")
# Work without a model has no queue to tell when it will have room again.
_RETRY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms work is let in.

    Attributes:
        size_bytes: of its pictures.
        deadline: seconds on the service's clock; None = the default timeout from now.
        lane: bulk requests wait behind interactive ones.
        bounded: whether the work as a whole ends at the deadline; work that cannot be left half done sees to
            that itself.
    """

    size_bytes: int = 0
    deadline: float | None = None
    lane: Lane = Lane.INTERACTIVE
    bounded: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """What is known of a request before its work.

    Attributes:
        operation: in the metrics; the task, or what is done with a collection.
        task: that its model must do; None where one of its graphs is all that is wanted.
        find: gives its model, or raises ModelNotFoundError and the like.
        terms: what it costs, and how long it may take.
        check: further refusals that need no model, such as too large a picture.
    """

    operation: str
    task: Task | None
    find: Callable[[], ServedModel]
    terms: Terms
    check: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class FoundRequest(Generic[F]):
    """A request whose model is known only after a look at something, such as the collection that it asks.

    Attributes:
        operation: in the metrics.
        task: that its model must do.
        find: gives its model, and what it was found by.
        terms: what it costs, and how long it may take.
    """

    operation: str
    task: Task
    find: Callable[[], Awaitable[tuple[ServedModel, F]]]
    terms: Terms


@dataclass(slots=True)
class _Counted:
    """What the figures want to know of a request; filled in as it becomes known."""

    label: str = UNKNOWN_MODEL
    timings: Timings | None = None


class RequestLife:
    """Takes requests through it. Belongs to the event loop."""

    def __init__(
        self, settings: AdmissionSettings, admission: Admission, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._metrics = metrics
        self._clock = clock

    async def run(self, request: Request, work: Callable[[UsableModel, Urgency], Coroutine[Any, Any, R]]) -> R:
        """Find the model, admit the request, do its work in time, and count it.

        Raises:
            VlpError: any RequestError, CapacityError, InferenceError or InternalError of vlp_spec.errors.
            asyncio.CancelledError: the awaiting task was cancelled; its items have left the queues.
        """
        async with self._counted(request.operation) as counted:
            served = request.find()
            counted.label = served.label
            reply = await self._admitted(request, served, work)
            counted.timings = reply.timings
            return reply

    async def stream(
        self, request: Request, work: Callable[[UsableModel, Urgency], AsyncGenerator[S]]
    ) -> AsyncGenerator[S]:
        """As `run`, for work that gives its reply in parts: what has `timings` is the reply, and comes last.

        The deadline counts the time that the caller takes between parts.
        """
        async with self._counted(request.operation) as counted:
            served = request.find()
            counted.label = served.label
            with served.use() as model:
                check_task(model, request.task)
                request.check()
                urgency = Urgency(request.terms.lane, self._until(request.terms))
                with self._admission.enter(request.terms.size_bytes, model.retry_after_s()):
                    async with aclosing(work(model, urgency)) as parts:
                        while True:
                            try:
                                async with asyncio.timeout(max(0.0, urgency.deadline - self._clock())):
                                    part = await anext(parts)
                            except StopAsyncIteration:
                                return
                            except TimeoutError:
                                raise _late() from None
                            counted.timings = getattr(part, "timings", None)
                            yield part

    async def run_without_model(
        self, operation: str, terms: Terms, work: Callable[[Urgency], Coroutine[Any, Any, R]]
    ) -> R:
        """Admit work that needs no model, do it in time, and count it; arguments as in `Request`, errors as `run`."""
        async with self._counted(operation) as counted:
            reply = await self._in_time(terms, _RETRY_S, work)
            counted.timings = reply.timings
            return reply

    async def run_with_found(
        self, found: FoundRequest[F], work: Callable[[UsableModel, F, Urgency], Coroutine[Any, Any, R]]
    ) -> R:
        """Admit a request whose model something else names, look that up, and go on as `run`; errors as there."""
        async with self._counted(found.operation) as counted:

            async def find_and_work(urgency: Urgency) -> R:
                # Also where the work itself may outlast its deadline, this must not.
                async with asyncio.timeout(max(0.0, urgency.deadline - self._clock())):
                    served, value = await found.find()
                counted.label = served.label
                with served.use() as model:
                    check_task(model, found.task)
                    return await work(model, value, urgency)

            reply = await self._in_time(found.terms, _RETRY_S, find_and_work)
            counted.timings = reply.timings
            return reply

    @asynccontextmanager
    async def _counted(self, operation: str) -> AsyncIterator[_Counted]:
        """Count a request with its outcome; what is no VlpError becomes an InternalError."""
        started = self._clock()
        counted = _Counted()
        outcome = str(ErrorKind.CANCELLED)
        try:
            yield counted
            outcome = SUCCESS
            if counted.timings is not None:
                self._metrics.observe_timings(counted.label, operation, counted.timings, self._clock() - started)
        except VlpError as error:
            outcome = str(error.kind)
            raise
        except Exception as error:
            outcome = str(ErrorKind.INTERNAL)
            logger.exception("a request failed")
            raise InternalError(detail=repr(error)) from error
        finally:
            self._metrics.count_request(counted.label, operation, outcome)

    async def _admitted(
        self, request: Request, served: ServedModel, work: Callable[[UsableModel, Urgency], Coroutine[Any, Any, R]]
    ) -> R:
        with served.use() as model:
            check_task(model, request.task)
            request.check()
            return await self._in_time(request.terms, model.retry_after_s(), lambda urgency: work(model, urgency))

    async def _in_time(
        self, terms: Terms, retry_after_s: float, work: Callable[[Urgency], Coroutine[Any, Any, T]]
    ) -> T:
        until = self._until(terms)
        with self._admission.enter(terms.size_bytes, retry_after_s):
            try:
                async with asyncio.timeout(until - self._clock() if terms.bounded else None):
                    return await work(Urgency(terms.lane, until))
            except TimeoutError:
                raise _late() from None

    def _until(self, terms: Terms) -> float:
        now = self._clock()
        until = now + self._settings.default_timeout_s if terms.deadline is None else terms.deadline
        if until <= now:
            raise DeadlineError("the deadline had passed when the request came")
        return until


def _late() -> DeadlineError:
    return DeadlineError("the deadline passed before the answer was there")


def check_task(model: UsableModel, task: Task | None) -> None:
    """Refuse a model for what it does not do; None is no task, and nothing to refuse.

    Raises:
        TaskNotSupportedError: it does not do the task.
    """
    deployment = model.loaded.deployment
    if task is not None and task not in deployment.tasks:
        raise TaskNotSupportedError(
            f"model {model.loaded.label!r}: does not do {task}, it does {', '.join(deployment.tasks)}"
        )
