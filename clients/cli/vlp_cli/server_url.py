"""The option of every command that asks a running server."""

from __future__ import annotations

import click

DEFAULT_URL = "http://127.0.0.1:8080"

url_option = click.option(
    "--url",
    default=DEFAULT_URL,
    envvar="VLPSERVE_URL",
    show_default=True,
    show_envvar=True,
    help="Address of the server.",
)
