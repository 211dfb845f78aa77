"""The commands of `vlpserve models` that ask a running server: versions, load, switch, rollback, unload."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

import click
from vlp_client import ModelAdmin, ModelVersion

from vlp_cli.client_failures import told_faults
from vlp_cli.output import print_json
from vlp_cli.server_url import AskedServer, named_rightly, server_options
from vlp_cli.table import print_table

_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_HEAD = ("model", "state", "name means", "requests", "reason")


def _read_reference(_: click.Context, __: click.Parameter, value: str) -> tuple[str, int]:
    """NAME@VERSION -> name and version. An alias is none: which version is meant is to be said here."""
    name, _at, version = value.partition("@")
    if not name or not _VERSION.fullmatch(version):
        raise click.BadParameter(f"got {value!r}, expected NAME@VERSION, such as scenes-clip@2")
    return name, int(version)


_reference = click.argument("reference", metavar="NAME@VERSION", callback=_read_reference)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("name", required=False)
@server_options
@_json
def versions(name: str | None, server: AskedServer, as_json: bool) -> None:
    """List what a server serves or could load.

    Every version, of the model NAME alone where it is given.
    """
    found = _ask(server, lambda admin: admin.versions())
    _show([one for one in found if name in (None, one.name)], as_json)


@click.command()
@_reference
@server_options
@_json
def load(reference: tuple[str, int], server: AskedServer, as_json: bool) -> None:
    """Load a version beside what is served.

    Until NAME is switched to it, only calls that name the version reach it.
    """
    _show(_ask(server, lambda admin: admin.load(*reference)), as_json)


@click.command()
@_reference
@server_options
@_json
def switch(reference: tuple[str, int], server: AskedServer, as_json: bool) -> None:
    """Let NAME mean this version from now on.

    It has to be served. Requests that are inside finish where they are.
    """
    _show(_ask(server, lambda admin: admin.switch(*reference)), as_json)


@click.command()
@click.argument("name")
@server_options
@_json
def rollback(name: str, server: AskedServer, as_json: bool) -> None:
    """Let NAME mean what it meant before it was switched."""
    _show(_ask(server, lambda admin: admin.rollback(name)), as_json)


@click.command()
@_reference
@click.option("--force", is_flag=True, help="Also the last version of its name, and what other served models need.")
@server_options
@_json
def unload(reference: tuple[str, int], force: bool, server: AskedServer, as_json: bool) -> None:
    """Take a version away, once the requests inside have left."""
    _show(_ask(server, lambda admin: admin.unload(*reference, force=force)), as_json)


CHANGES = (versions, load, switch, rollback, unload)


def _ask(server: AskedServer, call: Callable[[ModelAdmin], tuple[ModelVersion, ...]]) -> tuple[ModelVersion, ...]:
    with told_faults(server.url), named_rightly(), server.client() as client:
        return call(client.admin)


def _show(found: Sequence[ModelVersion], as_json: bool) -> None:
    if as_json:
        print_json({"models": [dataclasses.asdict(one) for one in found]})
    elif found:
        print_table(_HEAD, [_row(one) for one in found])
    else:
        click.echo("no such model, served or on disk")


def _row(one: ModelVersion) -> tuple[str, ...]:
    label = one.name if one.version is None else f"{one.name}@{one.version}"
    meaning = "this" if one.current else "this before" if one.previous else ""
    return label, one.state.replace("_", " "), meaning, str(one.requests), one.reason
