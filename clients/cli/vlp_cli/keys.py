"""`vlpserve keys`: make, list and revoke API keys. Works on files alone; a server takes note by itself."""

from __future__ import annotations

from pathlib import Path

import click
from vlp_server.access.keys import Role, new_key, parse_keys
from vlp_server.access.keys_file import add_key, read_entries, remove_key
from vlp_server.access.quota import OwnQuota

from vlp_cli.table import format_table

_FILE = click.Path(path_type=Path)
_COST = click.FloatRange(min=0, max=1e12, max_open=True)


@click.group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([str(role) for role in Role]),
    default=str(Role.READ),
    show_default=True,
    help="What the key may do: read asks and searches, write also changes collections, admin all.",
)
@click.option("--file", type=_FILE, help="Keys file that its line is added to; made where there is none.")
@click.option("--rate", type=_COST, help="Cost a second that the key may ask; 0: no bound. None: as every key.")
@click.option("--burst", type=_COST, help="Cost that it may ask at once after a silence; 0: ten seconds of the rate.")
@click.option("--concurrency", type=_COST, help="Cost that it may have under way at a time; 0: no bound.")
def new(name: str, role: str, file: Path | None, **quota: float | None) -> None:
    """Make a key called NAME and print it. It is shown now and never again, because only its sha256 is kept.

    Standard output has the key alone; what the server is to know of it goes to --file, or to standard error.
    """
    key, record = new_key(name, Role(role), OwnQuota(**quota))
    if file is None:
        click.echo(f"the line for the keys file, or for the setting access.keys:\n{record.line}", err=True)
    else:
        add_key(file, record)
        click.echo(f"added {name} ({role}) to {file}", err=True)
    click.echo("the key, which is kept nowhere:", err=True)
    click.echo(key)


@keys.command("list")
@click.argument("file", type=_FILE)
def list_all(file: Path) -> None:
    """List names and roles of the keys in FILE, and the quota of those that have one of their own."""
    rows = [(key.name, str(key.role), " ".join(key.quota.written)) for key in parse_keys(read_entries(file))]
    click.echo(format_table(("name", "role", "quota"), rows) if rows else "no keys; `vlpserve keys new` makes some")


@keys.command()
@click.argument("file", type=_FILE)
@click.argument("name")
def revoke(file: Path, name: str) -> None:
    """Take the key NAME out of FILE; a running server refuses it about a second later."""
    remove_key(file, name)
    click.echo(f"revoked {name}")
