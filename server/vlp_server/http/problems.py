"""Faults as RFC 9457 problem documents. The one table from kind to status; the core knows kinds only.

Every answer of this door that is not a success is made here, so a caller meets one form of error.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from vlp_spec.errors import CapacityError, ErrorKind, InternalError, InvalidArgumentError, StartupError, VlpError

from vlp_server.http.openai_errors import openai_error, openai_headers

PROBLEM_MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:vlpserve:problem:"
CLIENT_CLOSED_REQUEST = 499


class DoorKind(StrEnum):
    """Faults that only this door knows: they end before there is a request for the core."""

    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    HEADERS_TOO_LARGE = "headers_too_large"


STATUS: Mapping[ErrorKind | DoorKind, int] = {
    ErrorKind.INVALID_ARGUMENT: 400,
    # 422 and not 400: the request itself was read; what it carries is not a usable picture.
    ErrorKind.INVALID_IMAGE: 422,
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorKind.TOO_LARGE: 413,
    ErrorKind.MODEL_NOT_FOUND: 404,
    ErrorKind.TASK_NOT_SUPPORTED: 400,
    ErrorKind.MODEL_CONFLICT: 409,
    ErrorKind.COLLECTION_NOT_FOUND: 404,
    ErrorKind.ITEM_NOT_FOUND: 404,
    ErrorKind.COLLECTION_EXISTS: 409,
    ErrorKind.ENCODER_MISMATCH: 409,
    ErrorKind.NO_PICTURES: 409,
    ErrorKind.NO_EXTRACTOR: 409,
    ErrorKind.UNAUTHENTICATED: 401,
    ErrorKind.PERMISSION_DENIED: 403,
    ErrorKind.CANCELLED: CLIENT_CLOSED_REQUEST,
    ErrorKind.OVERLOADED: 429,
    ErrorKind.RATE_LIMITED: 429,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.DEADLINE_EXCEEDED: 504,
    ErrorKind.STORAGE_FULL: 507,
    ErrorKind.INFERENCE_FAILED: 500,
    ErrorKind.INTERNAL: 500,
    # Start-up faults are never on the wire: should one get here, `problem_of` turns it into `internal`.
    ErrorKind.CONFIG: 500,
    ErrorKind.ARTIFACT: 500,
    ErrorKind.PROOF: 500,
    DoorKind.NOT_FOUND: 404,
    DoorKind.METHOD_NOT_ALLOWED: 405,
    DoorKind.REQUEST_TIMEOUT: 408,
    DoorKind.HEADERS_TOO_LARGE: 431,
}
_RETRY_AFTER = (429, 503)


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault, ready to be written.

    Attributes:
        kind: stable name; a client rebuilds its error from it.
        detail: for the caller: what, got, expected, what to do.
        field: the field at fault, where there is one.
        retry_after_s: when it may be worth to try again.
        headers: further response headers, such as Allow.
        extras: further members of the document.
    """

    kind: ErrorKind | DoorKind
    detail: str
    field: str | None = None
    retry_after_s: float | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    extras: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status of the kind."""
        return STATUS[self.kind]

    def document(self, request_id: str) -> dict[str, Any]:
        """The members of the problem document."""
        members: dict[str, Any] = {
            "type": TYPE_PREFIX + self.kind,
            "title": self.kind.replace("_", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "kind": str(self.kind),
            "request_id": request_id,
        }
        if self.field is not None:
            members["field"] = self.field
        if self.retry_after_s is not None:
            members["retry_after_s"] = self.retry_after_s
        return members | dict(self.extras)

    def response(self, request_id: str) -> Response:
        """The whole answer: status, headers and document."""
        return self._respond(self.document(request_id), PROBLEM_MEDIA_TYPE)

    def openai_document(self, request_id: str) -> dict[str, Any]:
        """The same in the form of OpenAI's API, with the members of the problem document beside."""
        error = openai_error(self.kind, self.status, self.detail, self.field)
        return {"error": error, **self.document(request_id)}

    def openai_response(self, request_id: str) -> Response:
        """The whole answer in the form of OpenAI's API."""
        response = self._respond(self.openai_document(request_id), "application/json")
        response.headers.update(openai_headers(self.kind))
        return response

    def oip_response(self) -> Response:
        """The same in the form of the Open Inference Protocol: one text, that begins with the kind."""
        field = f"({self.field})" if self.field is not None else ""
        return self._respond({"error": f"{self.kind}{field}: {self.detail}"}, "application/json")

    def _respond(self, document: Mapping[str, Any], media_type: str) -> Response:
        headers = dict(self.headers)
        if self.kind == ErrorKind.UNAUTHENTICATED:
            headers["WWW-Authenticate"] = "Bearer"
        if self.retry_after_s is not None and self.status in _RETRY_AFTER:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
        return Response(body, self.status, headers, media_type)


class ProblemError(Exception):
    """A fault of one of this door's own kinds."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def problem_of(error: VlpError) -> Problem:
    """The problem that an error of the tree is. `detail` (the private text) never goes in."""
    if isinstance(error, StartupError) or error.kind not in STATUS:
        error = InternalError(detail=str(error))
    return Problem(
        kind=error.kind,
        detail=error.message,
        field=error.field if isinstance(error, InvalidArgumentError) else None,
        retry_after_s=error.retry_after_s if isinstance(error, CapacityError) else None,
    )


def problem_of_status(status: int, path: str, headers: Mapping[str, str] | None = None) -> Problem:
    """The problem for a status that the web framework itself chose (no such path, wrong method...)."""
    kinds: dict[int, tuple[ErrorKind | DoorKind, str]] = {
        404: (DoorKind.NOT_FOUND, f"path {path!r}: there is nothing here; /docs lists what there is"),
        405: (
            DoorKind.METHOD_NOT_ALLOWED,
            f"path {path!r}: another method is expected: {(headers or {}).get('Allow', 'see /docs')}",
        ),
        413: (ErrorKind.TOO_LARGE, "the body is over its limit"),
        415: (ErrorKind.UNSUPPORTED_MEDIA_TYPE, "a content type that this server does not read"),
        503: (ErrorKind.UNAVAILABLE, "try again later"),
    }
    if status in kinds:
        kind, detail = kinds[status]
    elif 400 <= status < 500:
        kind, detail = ErrorKind.INVALID_ARGUMENT, f"the request is refused ({HTTPStatus(status).phrase.lower()})"
    else:
        kind, detail = ErrorKind.INTERNAL, InternalError().message
    return Problem(kind, detail, headers=headers or {})
