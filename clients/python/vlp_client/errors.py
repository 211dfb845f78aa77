"""What can go wrong for a caller of a vlpserve server.

VlpClientError
├─ ConnectError      no server there, or the connection broke
├─ TimeoutError      the server did not answer in time
├─ ProtocolError     what answered is not a vlpserve server
├─ JournalError      a journal of a bulk run that cannot be gone on with
└─ ServerError       the server said no: kind, status, request_id, retry_after_s
   ├─ RequestError   the call itself is at fault; sending it again changes nothing
   │  ├─ AuthenticationError    the server asks for a key, and got none or one that it does not know
   │  └─ PermissionDeniedError  the server does not allow this, or not with this key
   └─ CapacityError  nothing is wrong with the call; try again after retry_after_s seconds
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping

UNKNOWN_KIND = "unknown"


class VlpClientError(Exception):
    """Root of all errors of this package."""


class ConnectError(VlpClientError):
    """No server there, or the connection broke.

    Attributes:
        sent: whether the server may have seen the call.
        answered: whether its answer had begun.
    """

    def __init__(self, message: str, *, sent: bool = True, answered: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.answered = answered


class TimeoutError(VlpClientError, builtins.TimeoutError):
    """The server did not answer in time."""


class ProtocolError(VlpClientError):
    """What answered is not a vlpserve server, or one of another version."""


class JournalError(VlpClientError):
    """A journal of a bulk run that cannot be gone on with: no journal, in use, or of another model."""


class ServerError(VlpClientError):
    """The server refused or failed.

    Attributes:
        kind: stable name of the fault, such as "invalid_image"; "unknown" when something in between answered.
        status: HTTP status; 200 where one item of a call that went well was refused. gRPC's codes are told as the
            statuses that the HTTP API has for the same kinds.
        field: the field of the request at fault, where one is.
        request_id: by which the server's log knows this request.
        retry_after_s: when it may be worth to try again.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        status: int,
        field: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.status = status
        self.field = field
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class RequestError(ServerError):
    """The call itself is at fault; sending it again changes nothing."""


class AuthenticationError(RequestError):
    """The server asks for a key, and got none or one that it does not know."""


class PermissionDeniedError(RequestError):
    """The server does not allow this, or not with this key, whose role does not suffice."""


class CapacityError(ServerError):
    """Nothing is wrong with the call; try again after `retry_after_s` seconds."""


STATUS_OF_KIND: Mapping[str, int] = {
    "invalid_argument": 400,
    "task_not_supported": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "model_not_found": 404,
    "collection_not_found": 404,
    "item_not_found": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "model_conflict": 409,
    "collection_exists": 409,
    "encoder_mismatch": 409,
    "no_pictures": 409,
    "no_extractor": 409,
    "too_large": 413,
    "unsupported_media_type": 415,
    "invalid_image": 422,
    "overloaded": 429,
    "rate_limited": 429,
    "headers_too_large": 431,
    "inference_failed": 500,
    "internal": 500,
    "unavailable": 503,
    "deadline_exceeded": 504,
    "storage_full": 507,
}
"""What the HTTP API answers with for each kind; over gRPC, `ServerError.status` is taken from here."""

_CLASSES: dict[str, type[ServerError]] = {
    "invalid_argument": RequestError,
    "invalid_image": RequestError,
    "unsupported_media_type": RequestError,
    "too_large": RequestError,
    "model_not_found": RequestError,
    "task_not_supported": RequestError,
    "model_conflict": RequestError,
    "collection_not_found": RequestError,
    "item_not_found": RequestError,
    "collection_exists": RequestError,
    "encoder_mismatch": RequestError,
    "no_pictures": RequestError,
    "no_extractor": RequestError,
    "unauthenticated": AuthenticationError,
    "permission_denied": PermissionDeniedError,
    "not_found": RequestError,
    "method_not_allowed": RequestError,
    "headers_too_large": RequestError,
    "overloaded": CapacityError,
    "rate_limited": CapacityError,
    "unavailable": CapacityError,
    "deadline_exceeded": CapacityError,
    "storage_full": CapacityError,
    "request_timeout": CapacityError,
}


def error_class(kind: str) -> type[ServerError]:
    """The class of a kind; `ServerError` itself for faults of the server and for kinds of the future."""
    return _CLASSES.get(kind, ServerError)
