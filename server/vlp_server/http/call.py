"""One request of the API while it is answered: counted as inside, with its deadline, its body, and an ear for its
client going away.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from starlette.requests import Request

from vlp_server.core.records import Timings
from vlp_server.http.body import BodyStream
from vlp_server.http.context import RequestContext, context_of, deadline_of
from vlp_server.http.disconnect import until_disconnect
from vlp_server.http.door import Door


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
    """

    request: Request
    context: RequestContext
    deadline: float | None
    body: BodyStream

    async def answer(self, work: Coroutine[Any, Any, R]) -> R:
        """Await what answers the request, and note its model and timings; the client's going away ends it.

        Raises:
            CancelledError: the client went away first.
        """
        reply = await until_disconnect(self.request.receive, work)
        self.context.timings, self.context.model = reply.timings, reply.model
        return reply

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """As `answer`, for work that has neither model nor timings."""
        return await until_disconnect(self.request.receive, work)


@contextmanager
def let_in(door: Door, request: Request) -> Iterator[Call]:
    """Count a request as inside for the time of its answer.

    Raises:
        OverloadedError, UnavailableError: see Door.admit.
        InvalidArgumentError: its deadline is none.
    """
    context = context_of(request.scope)
    with door.admit():
        deadline = deadline_of(request.headers, context.started, door.config.http.max_request_timeout_s)
        yield Call(request, context, deadline, BodyStream(request.receive, request.headers, door.body_limits, deadline))
