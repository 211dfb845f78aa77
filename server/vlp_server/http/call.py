"""One request of the API while it is answered: counted as inside, with its deadline, its body, and an ear for its
client going away.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from starlette.requests import Request

from vlp_server.access.limits import Admitted
from vlp_server.access.prices import Weight
from vlp_server.core.fan_out import all_or_first_error
from vlp_server.core.records import Timings
from vlp_server.http.body import BodyStream
from vlp_server.http.context import RequestContext, context_of, deadline_of
from vlp_server.http.disconnect import until_disconnect
from vlp_server.http.door import Door
from vlp_server.intake.memory import TakeBytes, at_most
from vlp_server.intake.picture_source import PARALLEL_FETCHES, Fetch, P, PictureUrl, sent_or_fetched


class _Reply(Protocol):
    @property
    def model(self) -> str: ...

    @property
    def timings(self) -> Timings: ...


T = TypeVar("T")
R = TypeVar("R", bound=_Reply)


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in.

    Attributes:
        deadline: time.monotonic() seconds, None where the caller names none.
        body: not read yet.
        take: counts further bytes that the request holds.
        take_fetched: counts the bytes of pictures that are fetched.
        fetch: gets a picture by its URL, None where the operator has not allowed it.
        admitted: what its caller's limits know of it.
    """

    request: Request
    context: RequestContext
    deadline: float | None
    body: BodyStream
    take: TakeBytes
    take_fetched: TakeBytes
    fetch: Fetch | None
    admitted: Admitted

    def charge(self, weight: Weight) -> None:
        """Let the caller pay for what it asks, now that it was read, before any work is done.

        Raises:
            RateLimitedError: it asks more than its limits allow.
        """
        self.context.words = weight.words
        self.admitted.charge(weight.cost)

    async def answer(self, work: Coroutine[Any, Any, R]) -> R:
        """Await what answers the request, and note its model and timings; the client's going away ends it.

        Raises:
            CancelledError: the client went away first.
        """
        reply = await until_disconnect(self.request.receive, work)
        self.note(reply)
        return reply

    def note(self, reply: _Reply) -> None:
        """Keep what the header and the access log say of an answer."""
        self.context.timings, self.context.model = reply.timings, reply.model

    async def answer_about(self, source: PictureUrl | P, work: Callable[[bytes | P], Coroutine[Any, Any, R]]) -> R:
        """As `answer`, for work on a picture, which is fetched first where it was named and not sent."""

        async def fetch_and_work() -> R:
            return await work(await self.picture(source))

        return await self.answer(fetch_and_work())

    async def pictures(self, sources: Sequence[PictureUrl | P]) -> list[bytes | P]:
        """As `picture`, for several, in their order."""
        return await all_or_first_error(sources, lambda source: self.picture(source), PARALLEL_FETCHES)

    async def picture(self, source: PictureUrl | P, share: float = 1.0) -> bytes | P:
        """See `sent_or_fetched`; to be awaited within `answer` or `wait`, which see to the client's going away."""
        return await sent_or_fetched(source, self.fetch, self.take_fetched, self.deadline, share)

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """As `answer`, for work that has neither model nor timings."""
        return await until_disconnect(self.request.receive, work)


@contextmanager
def let_in(door: Door, request: Request) -> Iterator[Call]:
    """Count a request as inside for the time of its answer.

    Raises:
        OverloadedError, UnavailableError: see Door.admit.
        RateLimitedError: the caller asks more than its limits allow.
        InvalidArgumentError: its deadline is none.
    """
    context = context_of(request.scope)
    key, limits = context.access_key, door.limits
    context.rate_state = lambda: limits.state(key)
    with limits.admit(key) as admitted, door.admit() as take:
        deadline = deadline_of(request.headers, context.started, door.config.http.max_request_timeout_s)
        body = BodyStream(request.receive, request.headers, door.body_limits, take, deadline)
        take_fetched = at_most(take, max(door.body_limits.max_bytes, door.config.url_fetch.max_bytes))
        yield Call(request, context, deadline, body, take, take_fetched, door.fetch, admitted)
