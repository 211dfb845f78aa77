"""The options of every command that asks a running server, and the client that they make."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click
from vlp_client import Client

from vlp_cli.client_failures import refused_argument
from vlp_cli.main import CommandFailure
from vlp_cli.shown_urls import without_secrets
from vlp_cli.table import one_line

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_TIMEOUT_S = 60.0
_MAX_KEY_BYTES = 4096

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class AskedServer:
    """Which server a command asks, and with which key.

    Attributes:
        url: of the server.
        api_key: None where it asks for none.
        timeout_s: for connecting, and for each wait for bytes of an answer.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = DEFAULT_TIMEOUT_S

    def client(self) -> Client:
        """A client of it, to be closed by the caller.

        Raises:
            click.UsageError: the key or the address cannot be one.
        """
        import httpx

        try:
            return Client(self.url, api_key=self.api_key, timeout_s=self.timeout_s)
        except httpx.InvalidURL as error:  # whose words have parts of the address
            raise click.UsageError(one_line(f"{without_secrets(self.url)}: no address of a server")) from error
        except ValueError as error:
            raise click.UsageError(refused_argument(error)) from error


def url_option(default: str | None = DEFAULT_URL, told: str = "Address of the server.") -> Callable[[F], F]:
    """--url, of every command the same."""
    return click.option("--url", default=default, envvar="VLPSERVE_URL", show_default=True, show_envvar=True, help=told)


def key_options(command: F) -> F:
    """--api-key and --api-key-file, handed to the command as one argument `api_key`."""

    @functools.wraps(command)
    def with_key(*args: Any, api_key: str | None, api_key_file: Path | None, **options: Any) -> Any:
        return command(*args, api_key=_key(api_key, api_key_file), **options)

    decorated: Any = click.option(
        "--api-key",
        envvar="VLPSERVE_API_KEY",
        show_envvar=True,
        help="Key for a server that asks for one; the variable keeps it out of the list of processes.",
    )(
        click.option(
            "--api-key-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="File that holds the key and nothing else; goes before --api-key.",
        )(with_key)
    )
    return decorated  # type: ignore[no-any-return]


def timeout_option(default_s: float = DEFAULT_TIMEOUT_S) -> Callable[[F], F]:
    """--timeout, handed to the command as `timeout_s`."""
    seconds = click.FloatRange(0, min_open=True)
    return click.option(
        "--timeout", "timeout_s", type=seconds, default=default_s, show_default=True, help="Seconds to wait."
    )


def server_options(command: F) -> F:
    """--url, --api-key, --api-key-file and --timeout, handed to the command as one argument `server`."""
    return patient_server_options(DEFAULT_TIMEOUT_S)(command)


def patient_server_options(timeout_s: float) -> Callable[[F], F]:
    """As `server_options`, with another default for --timeout."""

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def with_server(*args: Any, url: str, api_key: str | None, timeout_s: float, **options: Any) -> Any:
            return command(*args, server=AskedServer(url, api_key, timeout_s), **options)

        decorated: Any = url_option()(key_options(timeout_option(timeout_s)(with_server)))
        return decorated  # type: ignore[no-any-return]

    return decorate


@contextmanager
def named_rightly() -> Iterator[None]:
    """A name that no path can hold is a fault of the command line."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(refused_argument(error)) from error


def _key(given: str | None, file: Path | None) -> str | None:
    if file is None:
        return given
    try:
        with file.open("rb") as content:
            return content.read(_MAX_KEY_BYTES).decode("ascii").strip()
    except OSError as error:
        raise CommandFailure(f"--api-key-file {file}: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise CommandFailure(f"--api-key-file {file}: expected a key in ASCII") from None
