"""What goes wrong with a call to a server -> one line and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vlp_client import CapacityError, ConnectError, ProtocolError, ServerError, TimeoutError, VlpClientError

from vlp_cli.exit_codes import OVERLOADED, REFUSED, UNREACHABLE
from vlp_cli.main import CommandFailure, RequestFailure
from vlp_cli.shown_urls import without_secrets
from vlp_cli.table import one_line

_BUSY_STATUSES = (429, 503)


class UnreachableFailure(RequestFailure):
    """No server there, no answer in time, or another server's answer."""

    exit_code = UNREACHABLE


class OverloadFailure(RequestFailure):
    """Nothing is wrong with the call; it may work later."""

    exit_code = OVERLOADED


def failure_of(error: VlpClientError, hint: str = "") -> RequestFailure:
    """The failure of a command: "kind: words", and the code of its kind.

    Args:
        hint: for the end of the line.
    """
    kinds: dict[int, type[RequestFailure]] = {UNREACHABLE: UnreachableFailure, OVERLOADED: OverloadFailure}
    return kinds.get(exit_code_of(error), RequestFailure)(one_line(without_secrets(f"{kind_of(error)}: {error}{hint}")))


def kind_of(error: VlpClientError) -> str:
    """The stable name of a fault: the server's own, or one for what lies between."""
    if isinstance(error, ServerError):
        return error.kind
    if isinstance(error, TimeoutError):
        return "no_answer"
    return "protocol" if isinstance(error, ProtocolError) else "unreachable"


def exit_code_of(error: VlpClientError) -> int:
    """See `vlp_cli.exit_codes`."""
    if isinstance(error, ServerError):
        busy = isinstance(error, CapacityError) or error.status in _BUSY_STATUSES
        return OVERLOADED if busy else REFUSED
    return UNREACHABLE if isinstance(error, ConnectError | TimeoutError | ProtocolError) else REFUSED


@contextmanager
def told_faults(what: str) -> Iterator[None]:
    """Turn what goes wrong with a call into a message and an exit code.

    Args:
        what: names the files of the call, for the message where one cannot be read.
    """
    try:
        yield
    except VlpClientError as error:
        raise failure_of(error) from error
    except BrokenPipeError:
        raise  # of standard output
    except OSError as error:
        told = f"{error.filename or what}: {error.strerror or error}"
        raise CommandFailure(one_line(without_secrets(told))) from error
    except ValueError as error:  # what the SDK refuses to send
        raise CommandFailure(refused_argument(error)) from error


def refused_argument(error: ValueError) -> str:
    """What is wrong with an argument, on one line; the shell may hand over bytes that are no text."""
    if isinstance(error, UnicodeEncodeError):
        return "an argument is no text in UTF-8"
    return one_line(without_secrets(str(error)))
