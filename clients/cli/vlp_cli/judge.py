"""`vlpserve judge`: what a picture says of hypotheses."""

from __future__ import annotations

import dataclasses
import json

import click

from vlp_cli.picture_argument import asking_options, bar, read_argument, told_faults
from vlp_cli.server_url import AskedServer
from vlp_cli.table import format_table


@click.command()
@click.argument("picture")
@click.argument("hypotheses", nargs=-1, required=True, metavar="HYPOTHESIS...")
@asking_options
def judge(
    picture: str, hypotheses: tuple[str, ...], server: AskedServer, model: str | None, timeout_s: float, as_json: bool
) -> None:
    """Say whether PICTURE entails each HYPOTHESIS, contradicts it, or does neither; PICTURE as for `vlpserve ask`."""
    image, regions = read_argument(picture)
    with told_faults(picture), server.client(timeout_s=timeout_s) as client:
        reply = client.entailment(image, list(hypotheses), model=model, **regions)
    if as_json:
        click.echo(json.dumps({"model": reply.model, "results": [dataclasses.asdict(item) for item in reply.results]}))
        return
    for result in reply.results:
        if len(reply.results) > 1:
            click.echo(result.hypothesis)
        rows = [(label, f"{score:.3f}", bar(score)) for label, score in result.scores.items()]
        click.echo(format_table(("label", "score", ""), rows))
    click.echo(f"({reply.model})")
