"""`vlpserve reason`: whether statements about two pictures are true."""

from __future__ import annotations

import click

from vlp_cli.output import print_model, print_results
from vlp_cli.picture_argument import asking_options, bar, read_pair, told_faults
from vlp_cli.server_url import AskedServer
from vlp_cli.table import print_table


@click.command()
@click.argument("left")
@click.argument("right")
@click.argument("statements", nargs=-1, required=True, metavar="STATEMENT...")
@asking_options
def reason(
    left: str,
    right: str,
    statements: tuple[str, ...],
    server: AskedServer,
    model: str | None,
    fetch: bool,
    as_json: bool,
) -> None:
    """Say whether each STATEMENT is true of the pictures LEFT and RIGHT; each as for `vlpserve ask`."""
    images, regions = read_pair(left, right, fetch=fetch)
    with told_faults(f"{left}, {right}"), server.client() as client:
        reply = client.reasoning(images, list(statements), model=model, **regions)
    if as_json:
        print_results(reply.model, reply.results)
        return
    rows = [
        (result.statement, str(result.label).lower(), f"{result.score:.3f}", bar(result.score))
        for result in reply.results
    ]
    print_table(("statement", "label", "true", ""), rows)
    print_model(reply.model)
