"""Statuses of gRPC: the one table from kind to status, for every service."""

from __future__ import annotations

from collections.abc import Mapping

from grpc import StatusCode
from vlp_spec.errors import ErrorKind

STATUS: Mapping[ErrorKind, StatusCode] = {
    ErrorKind.INVALID_ARGUMENT: StatusCode.INVALID_ARGUMENT,
    ErrorKind.INVALID_IMAGE: StatusCode.INVALID_ARGUMENT,
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: StatusCode.INVALID_ARGUMENT,
    # Not RESOURCE_EXHAUSTED, though gRPC itself says that of a message over the limit: clients try that again.
    ErrorKind.TOO_LARGE: StatusCode.INVALID_ARGUMENT,
    ErrorKind.MODEL_NOT_FOUND: StatusCode.NOT_FOUND,
    ErrorKind.TASK_NOT_SUPPORTED: StatusCode.INVALID_ARGUMENT,
    ErrorKind.MODEL_CONFLICT: StatusCode.FAILED_PRECONDITION,
    ErrorKind.COLLECTION_NOT_FOUND: StatusCode.NOT_FOUND,
    ErrorKind.ITEM_NOT_FOUND: StatusCode.NOT_FOUND,
    ErrorKind.COLLECTION_EXISTS: StatusCode.ALREADY_EXISTS,
    ErrorKind.ENCODER_MISMATCH: StatusCode.FAILED_PRECONDITION,
    ErrorKind.NO_PICTURES: StatusCode.FAILED_PRECONDITION,
    ErrorKind.NO_EXTRACTOR: StatusCode.FAILED_PRECONDITION,
    ErrorKind.UNAUTHENTICATED: StatusCode.UNAUTHENTICATED,
    ErrorKind.PERMISSION_DENIED: StatusCode.PERMISSION_DENIED,
    ErrorKind.CANCELLED: StatusCode.CANCELLED,
    ErrorKind.RATE_LIMITED: StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.OVERLOADED: StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.UNAVAILABLE: StatusCode.UNAVAILABLE,
    ErrorKind.DEADLINE_EXCEEDED: StatusCode.DEADLINE_EXCEEDED,
    ErrorKind.STORAGE_FULL: StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.INFERENCE_FAILED: StatusCode.INTERNAL,
    ErrorKind.INTERNAL: StatusCode.INTERNAL,
    # Start-up faults are never on the wire: should one get here, it is told as `internal`.
    ErrorKind.CONFIG: StatusCode.INTERNAL,
    ErrorKind.ARTIFACT: StatusCode.INTERNAL,
    ErrorKind.PROOF: StatusCode.INTERNAL,
}
