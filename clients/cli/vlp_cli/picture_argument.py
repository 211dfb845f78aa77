"""What the commands that ask a server about pictures share: the picture itself, and their options."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from vlp_cli.client_failures import told_faults
from vlp_cli.completion_values import complete_model
from vlp_cli.main import CommandFailure
from vlp_cli.picture_fetch import fetch_picture, is_url
from vlp_cli.server_url import server_options

__all__ = ["REGIONS_SUFFIX", "asking_options", "bar", "read_argument", "read_pair", "read_several", "told_faults"]

F = TypeVar("F", bound=Callable[..., Any])
REGIONS_SUFFIX = ".npz"
"""By which a file of regions is told from a picture."""
_STDIN = "-"
_BAR_CHARS = 20
_OPTIONS = (
    server_options,
    click.option("--model", shell_complete=complete_model, help="name, name@version or name@alias."),
    click.option("--fetch", is_flag=True, help="Fetch http(s) URLs here, for a server that may not."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)


def asking_options(command: F) -> F:
    """The options of every such command: those of `server_options` (as `server`), --model, --fetch, --json."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_argument(argument: str, *, fetch: bool = False) -> tuple[str | bytes | None, dict[str, Any]]:
    """What the client takes for a picture on the command line.

    Args:
        argument: a file, an http(s) URL, - for standard input, or an .npz file of regions.
        fetch: whether a URL is fetched here; otherwise the server does it, where it may.

    Returns:
        the picture, and the further argument `regions` where these stand in its place.

    Raises:
        CommandFailure: a URL cannot be fetched, or standard input is closed.
    """
    return (None, {"regions": argument}) if _is_regions(argument) else (_read(argument, fetch), {})


def read_pair(
    left: str, right: str, *, fetch: bool = False
) -> tuple[tuple[str | bytes, str | bytes] | None, dict[str, Any]]:
    """As `read_argument`, for two.

    Raises:
        click.UsageError: regions on one side alone, or standard input on both.
    """
    if _is_regions(left) != _is_regions(right):
        raise click.UsageError("a picture and an .npz file of regions cannot be compared; give two of one kind")
    if _is_regions(left):
        return None, {"regions": (left, right)}
    first, second = read_several((left, right), fetch=fetch)
    return (first, second), {}


def read_several(arguments: Sequence[str], *, fetch: bool = False) -> list[str | bytes]:
    """Pictures of the command line.

    Raises:
        click.UsageError: standard input more than once.
    """
    if arguments.count(_STDIN) > 1:
        raise click.UsageError("standard input holds one picture; give the other as a file")
    return [_read(argument, fetch) for argument in arguments]


def bar(score: float) -> str:
    """A score between 0 and 1 as a bar."""
    return "#" * round(score * _BAR_CHARS)


def _read(argument: str, fetch: bool) -> str | bytes:
    if argument == _STDIN:
        if sys.stdin is None:
            raise CommandFailure("-: standard input is closed")
        return sys.stdin.buffer.read()
    return fetch_picture(argument) if fetch and is_url(argument) else argument


def _is_regions(argument: str) -> bool:
    return argument.lower().endswith(REGIONS_SUFFIX) and not is_url(argument)
