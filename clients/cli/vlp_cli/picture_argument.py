"""What the commands that ask a server about pictures share: the picture itself, their options, and faults in words."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from vlp_client import VlpClientError

from vlp_cli.main import CommandFailure, RequestFailure
from vlp_cli.server_url import DEFAULT_TIMEOUT_S, server_options

F = TypeVar("F", bound=Callable[..., Any])
REGIONS_SUFFIX = ".npz"
"""By which a file of regions is told from a picture."""
_STDIN = "-"
_BAR_CHARS = 20
_OPTIONS = (
    server_options,
    click.option("--model", help="name, name@version or name@alias."),
    click.option("--timeout", "timeout_s", default=DEFAULT_TIMEOUT_S, show_default=True, help="Seconds to wait."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)


def asking_options(command: F) -> F:
    """The options of every such command: --url and --api-key (as `server`), --model, --timeout, --json."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_argument(argument: str) -> tuple[str | bytes | None, dict[str, Any]]:
    """What the client takes for a picture on the command line.

    Args:
        argument: a file, an http(s) URL, - for standard input, or an .npz file of regions.

    Returns:
        the picture, and the further argument `regions` where these stand in its place.
    """
    if argument == _STDIN:
        return sys.stdin.buffer.read(), {}
    return (None, {"regions": argument}) if _is_regions(argument) else (argument, {})


def read_pair(left: str, right: str) -> tuple[tuple[str | bytes, str | bytes] | None, dict[str, Any]]:
    """As `read_argument`, for two.

    Raises:
        click.UsageError: regions on one side alone, or standard input on both.
    """
    if left == right == _STDIN:
        raise click.UsageError("standard input holds one picture; give the other as a file")
    if _is_regions(left) != _is_regions(right):
        raise click.UsageError("a picture and an .npz file of regions cannot be compared; give two of one kind")
    if _is_regions(left):
        return None, {"regions": (left, right)}
    first, second = (sys.stdin.buffer.read() if side == _STDIN else side for side in (left, right))
    return (first, second), {}


@contextmanager
def told_faults(what: str) -> Iterator[None]:
    """Turn what goes wrong with a call into a message and an exit code.

    Args:
        what: names the files of the call, for the message where one cannot be read.
    """
    try:
        yield
    except VlpClientError as error:
        raise RequestFailure(str(error)) from error
    except OSError as error:
        raise CommandFailure(f"{error.filename or what}: {error.strerror or error}") from error


def bar(score: float) -> str:
    """A score between 0 and 1 as a bar."""
    return "#" * round(score * _BAR_CHARS)


def _is_regions(argument: str) -> bool:
    is_url = argument[:8].lower().startswith(("http://", "https://"))
    return argument.lower().endswith(REGIONS_SUFFIX) and not is_url
