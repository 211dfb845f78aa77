"""`vlpserve point`: which parts of a picture phrases name."""

from __future__ import annotations

import dataclasses
import json

import click

from vlp_cli.picture_argument import asking_options, bar, read_argument, told_faults
from vlp_cli.server_url import AskedServer
from vlp_cli.table import format_table

_HEAD = ("x0", "y0", "x1", "y1", "score", "")


@click.command()
@click.argument("picture")
@click.argument("phrases", nargs=-1, required=True, metavar="PHRASE...")
@click.option("--top-k", default=5, show_default=True, help="Boxes for each phrase.")
@asking_options
def point(
    picture: str,
    phrases: tuple[str, ...],
    top_k: int,
    server: AskedServer,
    model: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Find what each PHRASE names in PICTURE, as for `vlpserve ask`; boxes are shares of its width and height."""
    image, regions = read_argument(picture)
    with told_faults(picture), server.client(timeout_s=timeout_s) as client:
        reply = client.grounding(image, list(phrases), top_k=top_k, model=model, **regions)
    if as_json:
        click.echo(json.dumps({"model": reply.model, "results": [dataclasses.asdict(item) for item in reply.results]}))
        return
    for result in reply.results:
        if len(reply.results) > 1:
            click.echo(result.phrase)
        rows = [
            (*(f"{edge:.3f}" for edge in found.box), f"{found.score:.3f}", bar(found.score)) for found in result.boxes
        ]
        click.echo(format_table(_HEAD, rows))
    click.echo(f"({reply.model})")
