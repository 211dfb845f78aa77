"""`vlpserve match`: how well texts fit a picture."""

from __future__ import annotations

import dataclasses

import click

from vlp_cli.output import print_json, print_model
from vlp_cli.picture_argument import asking_options, bar, read_argument, told_faults
from vlp_cli.server_url import AskedServer
from vlp_cli.table import print_table


@click.command()
@click.argument("picture")
@click.argument("texts", nargs=-1, required=True, metavar="TEXT...")
@asking_options
def match(
    picture: str, texts: tuple[str, ...], server: AskedServer, model: str | None, fetch: bool, as_json: bool
) -> None:
    """Say how well each TEXT fits PICTURE, as for `vlpserve ask`."""
    image, regions = read_argument(picture, fetch=fetch)
    with told_faults(picture), server.client() as client:
        reply = client.match(image, list(texts), model=model, **regions)
    if as_json:
        print_json({"model": reply.model, "scores": [dataclasses.asdict(one) for one in reply.scores]})
        return
    rows = [(one.text, f"{one.score:.3f}", bar(one.score)) for one in reply.scores]
    print_table(("text", "score", ""), rows)
    print_model(reply.model)
