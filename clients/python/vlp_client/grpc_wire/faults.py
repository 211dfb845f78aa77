"""What a failed gRPC call is to a caller: the errors that the same fault has over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import grpc

from vlp_client.calls import Call
from vlp_client.errors import (
    STATUS_OF_KIND,
    UNKNOWN_KIND,
    ConnectError,
    ProtocolError,
    TimeoutError,
    VlpClientError,
    error_class,
)

# Trailing metadata of a call that failed.
KIND, FIELD, RETRY_AFTER, REQUEST_ID = "error-kind", "error-field", "retry-after-s", "x-request-id"
TIMING = "server-timing"
IDEMPOTENCY_KEY = "idempotency-key"
_CODES: Mapping[Any, str] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: "deadline_exceeded",
    grpc.StatusCode.UNAUTHENTICATED: "unauthenticated",
    grpc.StatusCode.PERMISSION_DENIED: "permission_denied",
    # Of gRPC itself: a message over a limit.
    grpc.StatusCode.RESOURCE_EXHAUSTED: "too_large",
}
_NOT_CONNECTED = (
    "failed to connect",
    "connections to all backends failing",
    "dns resolution failed",
    "name resolution",
)


def texts_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    """Metadata by name; what is binary is left out."""
    return {name: value for name, value in metadata or () if isinstance(value, str)}


def fault_of(call: Call[Any], target: str, error: Any, *, answered: bool = False) -> VlpClientError:
    """The error that a failed call is.

    Args:
        call: that failed.
        target: of the server, for people.
        error: grpc.RpcError of either twin.
        answered: whether a part of the answer had come.
    """
    told = texts_of(error.trailing_metadata())
    code, details = error.code(), error.details() or ""
    kind = told.get(KIND)
    if kind is None:
        if code is grpc.StatusCode.UNAVAILABLE:
            sent = answered or not any(words in details.lower() for words in _NOT_CONNECTED)
            return ConnectError(f"{target}: {details}; is the server up?", sent=sent, answered=answered)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and call.deadline_s is None:
            return TimeoutError(f"{target}: no answer in time")
        if code in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.CANCELLED):
            return ProtocolError(f"{target}: {details}; is this a vlpserve server of this version?")
        kind = _CODES.get(code, UNKNOWN_KIND)
    return error_class(kind)(
        details or kind,
        kind=kind,
        status=STATUS_OF_KIND.get(kind, 500),
        field=_unquoted(told.get(FIELD)),
        request_id=told.get(REQUEST_ID),
        retry_after_s=_seconds(told.get(RETRY_AFTER)),
    )


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _unquoted(field: str | None) -> str | None:
    """A field's name, which metadata hold as a URL does."""
    return None if field is None else unquote(field)
