"""`vlpserve config`: what the settings are, and where each came from."""

from __future__ import annotations

import json
from pathlib import Path

import click
from vlp_server.config import resolve_config
from vlp_server.config.report import config_rows, config_table

from vlp_cli.settings_flags import as_flags


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A setting, as for serve.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(file: Path | None, assignments: tuple[str, ...], as_json: bool) -> None:
    """Print every setting with its value and source, or every fault (exit code 2)."""
    resolved = resolve_config(as_flags({}, assignments), None, file)
    if as_json:
        rows = {name: {"value": value, "source": origin} for name, value, origin in config_rows(resolved)}
        click.echo(json.dumps(rows, indent=1))
    else:
        click.echo(config_table(resolved))
