"""Calls over gRPC, through one channel. Needs the extra `grpc`; imported where it is asked for."""

from __future__ import annotations

from typing import Any, Self

from vlp_client.address import Address, Tls, key_header
from vlp_client.aio.grpc_calls import (
    Metadata,
    RpcError,
    answer,
    begun,
    close_channel,
    next_answer,
    open_channel,
    trailing_of,
)
from vlp_client.calls import Call
from vlp_client.errors import ConnectError, ProtocolError
from vlp_client.grpc_wire.faults import IDEMPOTENCY_KEY, TIMING, fault_of, texts_of
from vlp_client.grpc_wire.table import RPCS, channel_options, credentials
from vlp_client.http_wire import timings_of
from vlp_client.replies import Reply
from vlp_client.server_events import DONE_EVENT, Event
from vlp_client.timeouts import Span


class AsyncGrpcTransport:
    """An `AsyncTransport` over gRPC.

    Args:
        address: of the server.
        api_key: sent with every call; None where the server asks for none.
        tls: for grpcs.
        connect_s: that a connection may take.

    Raises:
        ValueError: the key cannot be one.
        OSError: a file of `tls` cannot be read.
    """

    def __init__(self, address: Address, *, api_key: str | None, tls: Tls | None, connect_s: float) -> None:
        self._target = address.target
        self._metadata: Metadata = list(key_header(api_key).items())
        trusted = credentials(tls) if address.scheme == "grpcs" else None
        self._channel = open_channel(address.target, trusted, channel_options(address, connect_s))

    async def send(self, call: Call[Any], span: Span) -> Reply:
        """Send a call; see `AsyncTransport`."""
        span.check()
        rpc = RPCS[call.verb]
        request = rpc.encode(call)
        try:
            response, trailing = await answer(self._channel, rpc, request, _timeout_s(span), self._metadata_of(call))
        except RpcError as error:
            raise fault_of(call, self._target, error) from error
        if response is None:
            raise ProtocolError(f"{self._target}: {call.verb} ended without an answer")
        return Reply(_decoded(call, response), _timings_of(trailing))

    async def stream(self, call: Call[Any], span: Span) -> AsyncGrpcEvents:
        """Send a call whose answer comes in parts; see `AsyncTransport`."""
        span.check()
        rpc = RPCS[call.verb]
        request = rpc.encode(call)
        opened = begun(self._channel, rpc, request, _timeout_s(span, whole=True), self._metadata_of(call))
        events = AsyncGrpcEvents(call, self._target, opened)
        await events.begin()
        return events

    async def aclose(self) -> None:
        """Close the channel."""
        await close_channel(self._channel)

    def _metadata_of(self, call: Call[Any]) -> Metadata:
        if call.idempotency_key is None:
            return self._metadata
        return [*self._metadata, (IDEMPOTENCY_KEY, call.idempotency_key)]


class AsyncGrpcEvents:
    """The events of an answer that comes in parts; see `AsyncEvents`.

    Args:
        call: what was asked.
        target: of the server, for people.
        opened: the call of gRPC.
    """

    def __init__(self, call: Call[Any], target: str, opened: Any) -> None:
        self._call, self._target, self._opened = call, target, opened
        self._first: Any | None = None
        self._is_over = False

    async def begin(self) -> None:
        """Wait for the first part; what is refused is raised here."""
        self._first = await self._next(answered=False)

    def __aiter__(self) -> Self:
        """The events, which can be read once."""
        return self

    async def __anext__(self) -> Event:
        """The next one."""
        if self._is_over:
            raise StopAsyncIteration
        response, self._first = self._first, None
        if response is None:
            response = await self._next(answered=True)
        if response is None:
            self._is_over = True
            raise ProtocolError(f"{self._target}: the stream ended before its answer")
        name, document = _decoded(self._call, response)
        if name != DONE_EVENT:
            return name, document
        self._is_over = True
        await self._next(answered=True)  # its end, with which the timings come
        return name, {**document, "timings_ms": _timings_of(await trailing_of(self._opened))}

    async def aclose(self) -> None:
        """Cancel what is left of it."""
        self._is_over = True
        self._opened.cancel()

    async def _next(self, *, answered: bool) -> Any | None:
        try:
            return await next_answer(self._opened)
        except RpcError as error:
            self._is_over = True
            fault = fault_of(self._call, self._target, error, answered=answered)
            if answered and isinstance(fault, ConnectError):
                fault = ConnectError(f"{self._target}: the connection broke before the end", answered=True)
            raise fault from error


def _timeout_s(span: Span, *, whole: bool = False) -> float | None:
    """Of the whole call: gRPC knows no limit of a single wait."""
    known = [span.deadline_s, None if whole else span.read_s]
    return min((seconds for seconds in known if seconds is not None), default=None)


def _decoded(call: Call[Any], response: Any) -> Any:
    try:
        return RPCS[call.verb].decode(response, call)
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"{call.verb}: an answer that is not this API's ({error!r})") from error


def _timings_of(trailing: list[tuple[str, str]]) -> dict[str, float]:
    try:
        return timings_of({"Server-Timing": texts_of(trailing).get(TIMING, "")})
    except ValueError:
        return {}
