"""Names that the shell offers: models and collections of the server, where it is up and answers at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vlp_client import Client

_PATIENCE_S = 1.0


def complete_model(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Served models that begin so."""
    return _names(context, incomplete, lambda client: (one.name for one in client.models()))


def complete_collection(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Collections that begin so."""
    return _names(context, incomplete, lambda client: (one.name for one in client.collections()))


def _names(context: click.Context, incomplete: str, ask: Callable[[Client], Iterable[str]]) -> list[str]:
    found: set[str] = set()

    def look() -> None:
        from vlp_cli.server_url import DEFAULT_URL, AskedServer

        options = context.params
        server = AskedServer(options.get("url") or DEFAULT_URL, options.get("api_key"), _PATIENCE_S)
        try:
            with server.client() as client:
                found.update(ask(client))
        except Exception:
            # Nobody reads an error here: it would stand in the middle of the line that is being typed.
            return

    # A thread that nobody waits for: however long the server takes, the shell gets its answer within a second.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    return sorted(name for name in set(found) if name.startswith(incomplete))
