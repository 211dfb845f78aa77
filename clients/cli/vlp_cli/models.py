"""`vlpserve models`: what could be served here, or what a running server serves, and changing the latter."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from vlp_server.config import resolve_config
from vlp_spec.found_deployment import deployment_names, deployment_versions, find_deployment
from vlp_zoo import zoo_path

from vlp_cli.client_failures import told_faults
from vlp_cli.model_changes import CHANGES
from vlp_cli.output import print_json
from vlp_cli.server_url import AskedServer, key_options, timeout_option, url_option
from vlp_cli.settings_flags import as_flags
from vlp_cli.table import print_table

_HEAD = ("model", "family", "tasks", "precision", "state", "where")


@click.group(invoke_without_command=True)
@url_option(None, "Address of a running server, in place of this machine's repositories.")
@key_options
@timeout_option()
@click.option("--local", is_flag=True, help="This machine's repositories, whatever VLPSERVE_URL says.")
@click.option("--repository", type=click.Path(path_type=Path), help="A further repository to look into.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def models(
    context: click.Context,
    url: str | None,
    api_key: str | None,
    timeout_s: float,
    local: bool,
    repository: Path | None,
    as_json: bool,
) -> None:
    """List models: those of the package, of the user's store and of --repository; or those that a server serves.

    With --url, or where VLPSERVE_URL is set, the server is asked, unless --local or --repository is given.

    The commands change which versions a running server serves, and which one a name means, while it answers.
    """
    if context.invoked_subcommand is not None:
        if any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in context.params):
            raise click.UsageError(f"options come after {context.invoked_subcommand}")
        return
    on_disk = local or repository is not None
    if on_disk and context.get_parameter_source("url") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--url, and --local or --repository: give one of them")
    found = _available(repository) if url is None or on_disk else _served(AskedServer(url, api_key, timeout_s))
    if as_json:
        print_json({"data": found})
    elif found:
        print_table(_HEAD, [_row(one) for one in found])
    else:
        click.echo("no models; `vlpserve export` makes some")


for command in CHANGES:
    models.add_command(command)


def _available(repository: Path | None) -> list[dict[str, Any]]:
    config = resolve_config(as_flags({"models.repository": repository}, ())).config
    found: list[dict[str, Any]] = []
    for folder in (config.models.repository, zoo_path() / "repository", config.models.store):
        if folder is None:
            continue
        for reference in _references(folder):
            deployment = find_deployment(folder, reference).deployment
            name, _, version = reference.partition("@")
            found.append(
                {
                    "id": reference,
                    "name": name,
                    "version": int(version),
                    "family": deployment.family,
                    "tasks": [str(task) for task in deployment.tasks],
                    "precision": str(deployment.precision),
                    "state": "on disk",
                    "where": str(folder),
                }
            )
    return found


def _references(repository: Path) -> list[str]:
    names = deployment_names(repository)
    return [f"{name}@{version}" for name in names for version in deployment_versions(repository, name)]


def _served(server: AskedServer) -> list[dict[str, Any]]:
    with told_faults(server.url), server.client() as client:
        return [{**dataclasses.asdict(info), "where": server.url} for info in client.models()]


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    return (
        one["id"],
        one["family"] or "-",
        ",".join(one["tasks"]),
        one["precision"] or "-",
        one["state"],
        one["where"],
    )
