"""What Triton says in words; it has no codes of its own for these."""

from __future__ import annotations

_QUEUE_FULL = "Exceeds maximum queue size"
_QUEUE_TIMEOUT = "Request timeout expired"
_DEAD = "is not healthy"  # Stub process 'x' is not healthy.
_NOT_THERE = ("no available versions", "unknown model", "is not ready")


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
