"""What Triton says in words; it has no codes of its own for these."""

from __future__ import annotations

from vlp_spec.errors import InferenceError, OverloadedError, VlpError

from vlp_server.engines.task_wire import fault_from

AWAY_RETRY_S = 2.0
_FULL_RETRY_S = 1.0
_QUEUE_FULL = "Exceeds maximum queue size"
_QUEUE_TIMEOUT = "Request timeout expired"
_DEAD = "is not healthy"  # Stub process 'x' is not healthy.
_NOT_THERE = ("no available versions", "unknown model", "is not ready")


def said_by_model(message: str, detail: str) -> VlpError | None:
    """The error that a model of ours, or a queue without room, has put into words; None where it is another's.

    Args:
        detail: for the log.
    """
    if known := fault_from(message):
        return known
    if is_queue_full(message):
        return OverloadedError(
            "the queue of this model is full; try again later", retry_after_s=_FULL_RETRY_S, detail=detail
        )
    return None


def failed_on_item(detail: str) -> InferenceError:
    """What an error that nothing else explains is taken for."""
    return InferenceError("the model failed on this item; the same input will fail again", detail=detail)


def is_queue_full(message: str) -> bool:
    """Whether a model's queue took no more."""
    return _QUEUE_FULL in message


def is_queue_timeout(message: str) -> bool:
    """Whether a request waited for longer than it may."""
    return _QUEUE_TIMEOUT in message


def is_dead(message: str) -> bool:
    """Whether the process of one copy of a model has died; Triton starts no other, and other copies may live."""
    return _DEAD in message


def is_not_there(message: str) -> bool:
    """Whether a server has not got a model, or not this version of it."""
    return any(words in message for words in _NOT_THERE)
