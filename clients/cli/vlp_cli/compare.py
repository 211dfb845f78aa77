"""`vlpserve compare`: whether statements about two pictures are true."""

from __future__ import annotations

import dataclasses
import json

import click

from vlp_cli.picture_argument import asking_options, bar, read_pair, told_faults
from vlp_cli.server_url import AskedServer
from vlp_cli.table import format_table


@click.command()
@click.argument("left")
@click.argument("right")
@click.argument("statements", nargs=-1, required=True, metavar="STATEMENT...")
@asking_options
def compare(
    left: str,
    right: str,
    statements: tuple[str, ...],
    server: AskedServer,
    model: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Say whether each STATEMENT is true of the pictures LEFT and RIGHT; each as for `vlpserve ask`."""
    images, regions = read_pair(left, right)
    with told_faults(f"{left}, {right}"), server.client(timeout_s=timeout_s) as client:
        reply = client.reasoning(images, list(statements), model=model, **regions)
    if as_json:
        click.echo(json.dumps({"model": reply.model, "results": [dataclasses.asdict(item) for item in reply.results]}))
        return
    rows = [
        (result.statement, str(result.label).lower(), f"{result.score:.3f}", bar(result.score))
        for result in reply.results
    ]
    click.echo(format_table(("statement", "label", "true", ""), rows))
    click.echo(f"({reply.model})")
