"""One call while it is answered: who asks, until when, what it holds, and what its trailing metadata will say."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote

import grpc.aio
from vlp_spec.tasks import Task

from vlp_server.access.limits import Admitted
from vlp_server.access.prices import Weight
from vlp_server.config.server import ServerConfig
from vlp_server.core.fan_out import all_or_first_error
from vlp_server.core.records import Timings
from vlp_server.intake.memory import TakeBytes, at_most
from vlp_server.intake.picture_source import PARALLEL_FETCHES, Fetch, P, PictureUrl, sent_or_fetched
from vlp_server.intake.request_ids import request_id_of
from vlp_server.intake.stage_times import server_timing

VISION_LANGUAGE = "vlp.v1.VisionLanguage"
_TASKS = {
    **{f"/{VISION_LANGUAGE}/{task.capitalize()}": str(task) for task in Task},
    f"/{VISION_LANGUAGE}/StreamCaption": str(Task.CAPTION),
    f"/{VISION_LANGUAGE}/Embed": str(Task.EMBEDDINGS),
}
REQUEST_ID_KEY = "x-request-id"
TIMING_KEY = "server-timing"
IDEMPOTENCY_KEY = "idempotency-key"


class _Reply(Protocol):
    @property
    def model(self) -> str: ...

    @property
    def timings(self) -> Timings: ...


R = TypeVar("R", bound=_Reply)


@dataclass(slots=True)
class CallRecord:
    """What is known of a call, let in or not; filled in on the way, for metadata, log and figures.

    Attributes:
        method: /package.Service/Name.
        request_id: the caller's x-request-id where it is sane, else a new one.
        peer: address of the caller.
        started: time.monotonic() seconds at which its metadata had arrived.
        key: name of the caller's API key.
        model: that answered.
        kind: of the fault.
        words: what the caller asked in its own words, for an access log that may have them.
        bytes_in: of its messages, as far as they were read.
        bytes_out: of the answers.
        done: task of a method that does any of them.
    """

    method: str
    request_id: str
    peer: str
    started: float = field(default_factory=time.monotonic)
    key: str | None = None
    model: str | None = None
    kind: str | None = None
    timings: Timings | None = None
    words: tuple[str, ...] = ()
    bytes_in: int = 0
    bytes_out: int = 0
    done: str | None = None

    @classmethod
    def begin(cls, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> CallRecord:
        """The record of a call that has just come."""
        return cls(method, request_id_of(metadata_value(context, REQUEST_ID_KEY) or ""), address_of(context.peer()))

    @property
    def task(self) -> str | None:
        """That the method does, or that was done; None where it does none."""
        return _TASKS.get(self.method) or self.done

    def seconds(self) -> float:
        """How long it has lasted."""
        return time.monotonic() - self.started

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Trailing metadata of every answer."""
        total_ms = round(self.seconds() * 1000, 1)
        return ((REQUEST_ID_KEY, self.request_id), (TIMING_KEY, server_timing(self.timings, total_ms)))


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was let in.

    Attributes:
        ends: time.monotonic() seconds at which the caller's deadline passes, None where it names none.
        idempotency_key: the caller's, where there is one.
        take: counts further bytes that the call holds.
        take_fetched: counts the bytes of pictures that are fetched.
        fetch: gets a picture by its URL, None where the operator has not allowed it.
        admitted: what its caller's limits know of it.
    """

    config: ServerConfig
    record: CallRecord
    ends: float | None
    idempotency_key: str | None
    take: TakeBytes
    take_fetched: TakeBytes
    fetch: Fetch | None
    admitted: Admitted

    @classmethod
    def begin(
        cls,
        config: ServerConfig,
        record: CallRecord,
        context: grpc.aio.ServicerContext[Any, Any],
        *,
        take: TakeBytes,
        fetch: Fetch | None,
        admitted: Admitted,
    ) -> Call:
        """A call that is inside now."""
        left_s = context.time_remaining()
        return cls(
            config=config,
            record=record,
            ends=None if left_s is None else time.monotonic() + left_s,
            idempotency_key=metadata_value(context, IDEMPOTENCY_KEY),
            take=take,
            take_fetched=at_most(take, _fetched_bytes(config)),
            fetch=fetch,
            admitted=admitted,
        )

    @property
    def deadline(self) -> float | None:
        """Of work that begins now, time.monotonic() seconds: a caller may wait for long, what works for it does not."""
        if self.ends is None:
            return None
        return min(self.ends, time.monotonic() + self.config.http.max_request_timeout_s)

    def charge(self, weight: Weight) -> None:
        """Let the caller pay for what it asks, before any work is done.

        Raises:
            RateLimitedError: it asks more than its limits allow.
        """
        self.record.words = weight.words
        self.admitted.charge(weight.cost)

    @contextmanager
    def part(self) -> Iterator[Call]:
        """A part of the call by itself: what it holds, and has under way, is given back at its end."""
        held = 0

        def take(size_bytes: int) -> None:
            nonlocal held
            self.take(size_bytes)
            held += size_bytes

        try:
            with self.admitted.part() as admitted:
                take_fetched = at_most(take, _fetched_bytes(self.config))
                yield replace(self, take=take, take_fetched=take_fetched, admitted=admitted)
        finally:
            self.take(-held)

    def noted(self, reply: R) -> R:
        """The reply; its model and timings are kept for metadata and log."""
        self.record.timings, self.record.model = reply.timings, reply.model
        return reply

    async def picture(self, source: PictureUrl | P, share: float = 1.0) -> bytes | P:
        """See `sent_or_fetched`."""
        return await sent_or_fetched(source, self.fetch, self.take_fetched, self.deadline, share)

    async def pictures(self, sources: Sequence[PictureUrl | P]) -> list[bytes | P]:
        """As `picture`, for several, in their order."""
        return await all_or_first_error(sources, lambda source: self.picture(source), PARALLEL_FETCHES)


def address_of(peer: str) -> str:
    """The address in what the library calls a peer, such as ipv4:127.0.0.1:50000 or ipv6:%5B::1%5D:50000."""
    kind, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else peer


def metadata_value(context: grpc.aio.ServicerContext[Any, Any], name: str) -> str | None:
    """A value of the caller's metadata; the first where there are several."""
    for key, value in context.invocation_metadata() or ():
        if key == name:
            return value if isinstance(value, str) else value.decode("latin-1")
    return None


def _fetched_bytes(config: ServerConfig) -> int:
    """Most bytes of pictures that are fetched for one call."""
    return max(config.grpc.max_message_bytes, config.url_fetch.max_bytes)
