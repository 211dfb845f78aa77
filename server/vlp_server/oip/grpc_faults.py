"""Errors of the tree as gRPC says them: a status, and the message that Triton's task models send, too."""

from __future__ import annotations

import math
from typing import Any

from vlp_spec.errors import CapacityError, InternalError, StartupError, VlpError

from vlp_server.engines.task_wire import fault_text
from vlp_server.intake.grpc_codes import STATUS

RETRY_AFTER = "retry-after"


def told(error: Exception) -> VlpError:
    """The error that a caller is told of: what is none of the tree's is ours, and its text stays here."""
    if isinstance(error, VlpError) and not isinstance(error, StartupError):
        return error
    return InternalError(detail=repr(error))


async def abort(context: Any, error: VlpError) -> None:
    """End a call with an error; raises always."""
    trailing = tuple(context.trailing_metadata() or ())
    if isinstance(error, CapacityError):
        trailing = (*trailing, (RETRY_AFTER, str(max(1, math.ceil(error.retry_after_s)))))
    await context.abort(STATUS[error.kind], fault_text(error), trailing)
