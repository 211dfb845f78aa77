"""`vlpserve models`: what could be served here, or what a running server serves."""

from __future__ import annotations

import json
from pathlib import Path

import click
from vlp_server.config import resolve_config
from vlp_spec.found_deployment import deployment_names, deployment_versions, find_deployment
from vlp_zoo import zoo_path

from vlp_cli.main import RequestFailure
from vlp_cli.settings_flags import as_flags
from vlp_cli.table import format_table

_HEAD = ("model", "family", "tasks", "precision", "state", "where")


@click.command()
@click.option("--url", help="Address of a running server, in place of this machine's repositories.")
@click.option("--repository", type=click.Path(path_type=Path), help="A further repository to look into.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(url: str | None, repository: Path | None, as_json: bool) -> None:
    """List models: those of the package, of the user's store and of --repository; or those that a server serves."""
    rows = _served(url) if url is not None else _available(repository)
    if as_json:
        click.echo(json.dumps([dict(zip(_HEAD, row, strict=True)) for row in rows], indent=1))
    elif rows:
        click.echo(format_table(_HEAD, rows))
    else:
        click.echo("no models; `vlpserve export` makes some")


def _available(repository: Path | None) -> list[tuple[str, ...]]:
    config = resolve_config(as_flags({"models.repository": repository}, ())).config
    rows: list[tuple[str, ...]] = []
    for folder in (config.models.repository, zoo_path() / "repository", config.models.store):
        if folder is None:
            continue
        for reference in _references(folder):
            deployment = find_deployment(folder, reference).deployment
            tasks = ",".join(deployment.tasks)
            rows.append((reference, deployment.family, tasks, deployment.precision, "on disk", str(folder)))
    return rows


def _references(repository: Path) -> list[str]:
    names = deployment_names(repository)
    return [f"{name}@{version}" for name in names for version in deployment_versions(repository, name)]


def _served(url: str) -> list[tuple[str, ...]]:
    from vlp_client import Client, VlpClientError

    try:
        with Client(url) as client:
            infos = client.models()
    except VlpClientError as error:
        raise RequestFailure(str(error)) from error
    return [
        (info.id, info.family or "-", ",".join(info.tasks), info.precision or "-", info.state, url) for info in infos
    ]
