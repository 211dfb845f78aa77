"""`vlpserve collections`: look at a server's collections; back up, restore and embed anew the store on this machine."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vlp_cli.client_failures import told_faults
from vlp_cli.completion_values import complete_collection
from vlp_cli.output import print_json
from vlp_cli.server_url import AskedServer, named_rightly, server_options
from vlp_cli.settings_flags import as_flags
from vlp_cli.table import counted, one_line, print_table

if TYPE_CHECKING:
    from vlp_server.config import ServerConfig
    from vlp_server.index.backup import BackupSummary

_FILE = click.Path(path_type=Path)
_CONFIG = click.option("--config", "file", type=_FILE, help="TOML file with settings.")
_SET = click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Any setting; see config check.")
_HEAD = ("collection", "items", "model", "metric", "pictures")


@click.group()
def collections() -> None:
    """Look after collections."""


@collections.command("list")
@server_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_all(server: AskedServer, as_json: bool) -> None:
    """List the collections of a server."""
    with told_faults(server.url), server.client() as client:
        found = client.collections()
    if as_json:
        print_json({"collections": [dataclasses.asdict(one) for one in found]})
        return
    rows = [
        (one.name, str(one.items), one.model, one.metric, "kept" if one.store_images else "not kept") for one in found
    ]
    if rows:
        print_table(_HEAD, rows)
    else:
        click.echo("no collections; `vlpserve index` makes some")


@collections.command()
@click.argument("name", shell_complete=complete_collection)
@server_options
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(name: str, server: AskedServer, yes: bool) -> None:
    """Forget the collection NAME of a server."""
    if not yes:
        click.confirm(f"Forget the collection {one_line(name)} with all of its items?", abort=True)
    with told_faults(name), named_rightly(), server.client() as client:
        client.collection(name).drop()
    click.echo(f"dropped {name}")


@collections.command()
@click.argument("target", type=_FILE)
@_CONFIG
@_SET
def backup(target: Path, file: Path | None, assignments: tuple[str, ...]) -> None:
    """Copy the local store to TARGET, a new folder; a server may go on using the store meanwhile."""
    from vlp_server.index.backup import back_up

    root, pictures_url = _place(file, assignments)
    summary = back_up(root, target, pictures_url=pictures_url)
    _tell(target, summary)


@collections.command()
@click.argument("source", type=_FILE)
@_CONFIG
@_SET
def restore(source: Path, file: Path | None, assignments: tuple[str, ...]) -> None:
    """Make the local store of the backup SOURCE; there must be no store yet."""
    from vlp_server.index.backup import restore as restore_backup

    root, pictures_url = _place(file, assignments)
    summary = restore_backup(source, root, pictures_url=pictures_url)
    _tell(root, summary)


@collections.command()
@click.argument("name")
@click.argument("model")
@_CONFIG
@_SET
def reembed(name: str, model: str, file: Path | None, assignments: tuple[str, ...]) -> None:
    """Give the collection NAME the vectors of MODEL, from the pictures that it keeps.

    No server may use the store meanwhile. A run that was cut off goes on when the same command is started again; until
    it is through, the collection has its old vectors.
    """
    from vlp_server.config import resolve_config
    from vlp_server.index.local import DATABASE, LocalStore
    from vlp_spec.errors import ConfigError

    from vlp_cli.reembedding import embed_anew

    config = resolve_config(as_flags({"models.serve": model}, assignments), None, file).config
    root = _local_place(config)
    if not (root / DATABASE).is_file():
        raise ConfigError([f"collections.place: there is no store in {root}"])
    store = LocalStore(root, config.store)
    try:
        with click.progressbar(length=store.get(name).items, label=name) as bar:
            done = asyncio.run(embed_anew(store, name, config, bar.update))
    finally:
        store.close()
    click.echo(f"{name}: vectors of {model} for {counted(done, 'item')}")


def _tell(place: Path, summary: BackupSummary) -> None:
    parts = (len(summary.collections), "collection"), (summary.items, "item"), (summary.pictures, "picture")
    click.echo(f"{place}: {', '.join(counted(*part) for part in parts)}")


def _place(file: Path | None, assignments: tuple[str, ...]) -> tuple[Path, str]:
    """The folder of the local store, and where its pictures are."""
    from vlp_server.config import resolve_config

    config = resolve_config(as_flags({}, assignments), None, file).config
    return _local_place(config), config.store.pictures_url


def _local_place(config: ServerConfig) -> Path:
    from vlp_server.index.opening import is_milvus
    from vlp_spec.errors import ConfigError

    place = config.collections.place
    if not place or is_milvus(place):
        raise ConfigError([f"collections.place: {place!r} is no local store; Milvus has tools of its own for this"])
    return Path(place)
