"""The options of every command that asks a running server, and the client that they make."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click
from vlp_client import Client

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_TIMEOUT_S = 60.0

F = TypeVar("F", bound=Callable[..., Any])

url_option = click.option(
    "--url",
    default=DEFAULT_URL,
    envvar="VLPSERVE_URL",
    show_default=True,
    show_envvar=True,
    help="Address of the server.",
)
api_key_option = click.option(
    "--api-key",
    envvar="VLPSERVE_API_KEY",
    show_envvar=True,
    help="Key for a server that asks for one; the variable keeps it out of the list of processes.",
)


@dataclass(frozen=True, slots=True)
class AskedServer:
    """Which server a command asks, and with which key.

    Attributes:
        url: of the server.
        api_key: None where it asks for none.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)

    def client(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Client:
        """A client of it, to be closed by the caller.

        Raises:
            click.UsageError: the key cannot be one.
        """
        try:
            return Client(self.url, api_key=self.api_key, timeout_s=timeout_s)
        except ValueError as error:
            raise click.UsageError(str(error)) from error


def server_options(command: F) -> F:
    """--url and --api-key, handed to the command as one argument `server`, an `AskedServer`."""

    @functools.wraps(command)
    def with_server(*args: Any, url: str, api_key: str | None, **options: Any) -> Any:
        return command(*args, server=AskedServer(url, api_key), **options)

    decorated: Any = url_option(api_key_option(with_server))
    return decorated  # type: ignore[no-any-return]
