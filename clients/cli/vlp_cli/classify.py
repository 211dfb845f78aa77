"""`vlpserve classify`: which of some labels a picture has."""

from __future__ import annotations

import dataclasses

import click

from vlp_cli.output import print_json, print_model
from vlp_cli.picture_argument import asking_options, bar, read_argument, told_faults
from vlp_cli.server_url import AskedServer
from vlp_cli.table import print_table


@click.command()
@click.argument("picture")
@click.argument("labels", nargs=-1, required=True, metavar="LABEL...")
@click.option("--template", "templates", multiple=True, help='What is said of a label: "a photo of a {}."; repeat it.')
@asking_options
def classify(
    picture: str,
    labels: tuple[str, ...],
    templates: tuple[str, ...],
    server: AskedServer,
    model: str | None,
    fetch: bool,
    as_json: bool,
) -> None:
    """Choose among LABELs, which may be any words, for PICTURE: a file, an http(s) URL, or - for standard input."""
    image, in_place = read_argument(picture, fetch=fetch)
    if image is None:
        raise click.UsageError(f"{in_place['regions']}: these are regions; give a picture")
    with told_faults(picture), server.client() as client:
        reply = client.classify(image, list(labels), templates=list(templates) or None, model=model)
    if as_json:
        print_json({"model": reply.model, "scores": [dataclasses.asdict(one) for one in reply.scores]})
        return
    print_table(("label", "score", ""), [(one.label, f"{one.score:.3f}", bar(one.score)) for one in reply.scores])
    print_model(reply.model)
