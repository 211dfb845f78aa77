"""What callers are told whose work is not done, through no fault of theirs."""

from __future__ import annotations

from vlp_spec.errors import UnavailableError

_STOPPING_RETRY_S = 5.0


def stopping() -> UnavailableError:
    """The server is stopping."""
    return UnavailableError("the server is stopping", retry_after_s=_STOPPING_RETRY_S)


def copied(error: UnavailableError) -> UnavailableError:
    """One for each caller: an exception that is raised twice keeps the stack of both."""
    return UnavailableError(error.message, retry_after_s=error.retry_after_s)
