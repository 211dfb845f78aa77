"""Errors of the tree as gRPC says them: one table of codes, and the message that Triton's task models send, too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import grpc
from vlp_spec.errors import CapacityError, ErrorKind, InternalError, StartupError, VlpError

from vlp_server.engines.task_wire import fault_text

RETRY_AFTER = "retry-after"
CODES: Mapping[ErrorKind, Any] = {
    ErrorKind.INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.INVALID_IMAGE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.UNSUPPORTED_MEDIA_TYPE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.MODEL_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorKind.TASK_NOT_SUPPORTED: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.MODEL_CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.COLLECTION_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorKind.ITEM_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorKind.COLLECTION_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    ErrorKind.ENCODER_MISMATCH: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.NO_PICTURES: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.NO_EXTRACTOR: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorKind.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.CANCELLED: grpc.StatusCode.CANCELLED,
    ErrorKind.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorKind.STORAGE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.INFERENCE_FAILED: grpc.StatusCode.INTERNAL,
    ErrorKind.INTERNAL: grpc.StatusCode.INTERNAL,
    # Never on the wire; `told` makes them internal ones.
    ErrorKind.CONFIG: grpc.StatusCode.INTERNAL,
    ErrorKind.ARTIFACT: grpc.StatusCode.INTERNAL,
    ErrorKind.PROOF: grpc.StatusCode.INTERNAL,
}


def told(error: Exception) -> VlpError:
    """The error that a caller is told of: what is none of the tree's is ours, and its text stays here."""
    if isinstance(error, VlpError) and not isinstance(error, StartupError):
        return error
    return InternalError(detail=repr(error))


async def abort(context: Any, error: VlpError) -> None:
    """End a call with an error; raises always."""
    trailing: tuple[tuple[str, str], ...] = ()
    if isinstance(error, CapacityError):
        trailing = ((RETRY_AFTER, str(max(1, math.ceil(error.retry_after_s)))),)
    await context.abort(CODES[error.kind], fault_text(error), trailing)
