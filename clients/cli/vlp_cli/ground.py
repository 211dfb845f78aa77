"""`vlpserve ground`: which parts of a picture phrases name."""

from __future__ import annotations

import click

from vlp_cli.output import print_model, print_results
from vlp_cli.picture_argument import asking_options, bar, read_argument, told_faults
from vlp_cli.server_url import AskedServer
from vlp_cli.table import one_line, print_table

_HEAD = ("x0", "y0", "x1", "y1", "score", "")


@click.command()
@click.argument("picture")
@click.argument("phrases", nargs=-1, required=True, metavar="PHRASE...")
@click.option("--top-k", default=5, show_default=True, help="Boxes for each phrase.")
@asking_options
def ground(
    picture: str,
    phrases: tuple[str, ...],
    top_k: int,
    server: AskedServer,
    model: str | None,
    fetch: bool,
    as_json: bool,
) -> None:
    """Find what each PHRASE names in PICTURE, as for `vlpserve ask`; boxes are shares of its width and height."""
    image, regions = read_argument(picture, fetch=fetch)
    with told_faults(picture), server.client() as client:
        reply = client.grounding(image, list(phrases), top_k=top_k, model=model, **regions)
    if as_json:
        print_results(reply.model, reply.results)
        return
    for result in reply.results:
        if len(reply.results) > 1:
            click.echo(one_line(result.phrase))
        rows = [
            (*(f"{edge:.3f}" for edge in found.box), f"{found.score:.3f}", bar(found.score)) for found in result.boxes
        ]
        print_table(_HEAD, rows)
    print_model(reply.model)
