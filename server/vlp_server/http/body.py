"""Reads a request's body as a stream, with a limit on its size and on its time; never more in memory than allowed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Message, Receive
from vlp_spec.errors import CancelledError, DeadlineError, InvalidArgumentError, TooLargeError, UnsupportedMediaError

from vlp_server.http.problems import DoorKind, Problem, ProblemError
from vlp_server.intake.memory import TakeBytes

_LENGTH = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may cost.

    Attributes:
        max_bytes: of the whole body as sent.
        timeout_s: from its first to its last byte; a body that drips in is cut off here.
    """

    max_bytes: int
    timeout_s: float


class BodyStream:
    """The chunks of one body.

    Args:
        receive: ASGI's receive of this request.
        headers: of this request; Content-Length is checked before a byte is read.
        limits: size and time.
        take: counts the bytes that arrive.
        deadline: time.monotonic() seconds after which nobody waits for the answer, or None.
    """

    def __init__(
        self, receive: Receive, headers: Headers, limits: BodyLimits, take: TakeBytes, deadline: float | None
    ) -> None:
        self._receive = receive
        self._headers = headers
        self._limits = limits
        self._take = take
        self._deadline = deadline

    @property
    def max_bytes(self) -> int:
        """Of the whole body; unpacked, where it is packed."""
        return self._limits.max_bytes

    def check_length(self, *, packed: bool = False) -> None:
        """Refuse a body that announces more than is allowed, or a form that is not read, before any of it is.

        Args:
            packed: whether it may be compressed; who reads it so unpacks it, and bounds what comes out.

        Raises:
            UnsupportedMediaError: it is compressed, and may not be.
            TooLargeError: Content-Length is over the limit.
            InvalidArgumentError: Content-Length is not a number.
        """
        encoding = self._headers.get("content-encoding", "identity").strip().lower()
        if not packed and encoding not in ("", "identity"):
            raise UnsupportedMediaError(f"Content-Encoding: got {encoding!r:.40}; send the body as it is")
        announced = self._headers.get("content-length")
        if announced is None:
            return
        if not _LENGTH.fullmatch(announced):
            raise InvalidArgumentError(f"Content-Length: got {announced!r:.40}, expected a number of bytes")
        if int(announced) > self._limits.max_bytes:
            raise self._too_large(f"{int(announced)} bytes")

    async def chunks(self, *, packed: bool = False) -> AsyncIterator[bytes]:
        """The body, piece by piece as it arrives.

        Args:
            packed: as in `check_length`.

        Raises:
            TooLargeError: more bytes than allowed have arrived, announced or not.
            UnsupportedMediaError: they are compressed, and may not be.
            ProblemError: request_timeout: the body took too long.
            OverloadedError: other requests hold the memory that it needs.
            DeadlineError: the caller's own deadline passed while its body was arriving.
            CancelledError: the client went away.
        """
        self.check_length(packed=packed)
        started, received, more = time.monotonic(), 0, True
        while more:
            message = await self._next_message(started)
            if message["type"] == "http.disconnect":
                raise CancelledError("the client went away while it was sending")
            chunk: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            received += len(chunk)
            if received > self._limits.max_bytes:
                raise self._too_large("more")
            self._take(len(chunk))
            if chunk:
                yield chunk

    async def read(self, *, packed: bool = False) -> bytes:
        """The whole body; arguments and errors as `chunks`."""
        return b"".join([chunk async for chunk in self.chunks(packed=packed)])

    async def _next_message(self, started: float) -> Message:
        end = started + self._limits.timeout_s
        if self._deadline is not None:
            end = min(end, self._deadline)
        try:
            async with asyncio.timeout(max(0.0, end - time.monotonic())):
                return await self._receive()
        except TimeoutError:
            if self._deadline is not None and time.monotonic() >= self._deadline:
                raise DeadlineError("the deadline passed while the body was still arriving") from None
            detail = f"the body did not arrive within {self._limits.timeout_s:g} s; send a smaller picture"
            raise ProblemError(Problem(DoorKind.REQUEST_TIMEOUT, detail, headers={"Connection": "close"})) from None

    def _too_large(self, got: str) -> TooLargeError:
        return TooLargeError(f"body: got {got}, at most {self._limits.max_bytes} bytes are read; send less")
