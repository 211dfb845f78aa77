"""`vlpserve models`: what could be served here, or what a running server serves, and changing the latter."""

from __future__ import annotations

import json
from pathlib import Path

import click
from click.core import ParameterSource
from vlp_client import VlpClientError
from vlp_server.config import resolve_config
from vlp_spec.found_deployment import deployment_names, deployment_versions, find_deployment
from vlp_zoo import zoo_path

from vlp_cli.main import RequestFailure
from vlp_cli.model_changes import CHANGES
from vlp_cli.server_url import AskedServer, api_key_option
from vlp_cli.settings_flags import as_flags
from vlp_cli.table import format_table

_HEAD = ("model", "family", "tasks", "precision", "state", "where")


@click.group(invoke_without_command=True)
@click.option("--url", help="Address of a running server, in place of this machine's repositories.")
@api_key_option
@click.option("--repository", type=click.Path(path_type=Path), help="A further repository to look into.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def models(
    context: click.Context, url: str | None, api_key: str | None, repository: Path | None, as_json: bool
) -> None:
    """List models: those of the package, of the user's store and of --repository; or those that a server serves.

    The commands change which versions a running server serves, and which one a name means, while it answers.
    """
    if context.invoked_subcommand is not None:
        if any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in context.params):
            raise click.UsageError(f"options come after {context.invoked_subcommand}")
        return
    rows = _served(AskedServer(url, api_key)) if url is not None else _available(repository)
    if as_json:
        click.echo(json.dumps([dict(zip(_HEAD, row, strict=True)) for row in rows], indent=1))
    elif rows:
        click.echo(format_table(_HEAD, rows))
    else:
        click.echo("no models; `vlpserve export` makes some")


for command in CHANGES:
    models.add_command(command)


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


def _served(server: AskedServer) -> list[tuple[str, ...]]:
    try:
        with server.client() as client:
            infos = client.models()
    except VlpClientError as error:
        raise RequestFailure(str(error)) from error
    return [
        (info.id, info.family or "-", ",".join(info.tasks), info.precision or "-", info.state, server.url)
        for info in infos
    ]
