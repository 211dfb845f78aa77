"""`vlpserve entail`: what a picture says of hypotheses."""

from __future__ import annotations

import click

from vlp_cli.output import print_model, print_results
from vlp_cli.picture_argument import asking_options, bar, read_argument, told_faults
from vlp_cli.server_url import AskedServer
from vlp_cli.table import one_line, print_table


@click.command()
@click.argument("picture")
@click.argument("hypotheses", nargs=-1, required=True, metavar="HYPOTHESIS...")
@asking_options
def entail(
    picture: str, hypotheses: tuple[str, ...], server: AskedServer, model: str | None, fetch: bool, as_json: bool
) -> None:
    """Say whether PICTURE entails each HYPOTHESIS, contradicts it, or does neither; PICTURE as for `vlpserve ask`."""
    image, regions = read_argument(picture, fetch=fetch)
    with told_faults(picture), server.client() as client:
        reply = client.entailment(image, list(hypotheses), model=model, **regions)
    if as_json:
        print_results(reply.model, reply.results)
        return
    for result in reply.results:
        if len(reply.results) > 1:
            click.echo(one_line(result.hypothesis))
        rows = [(label, f"{score:.3f}", bar(score)) for label, score in result.scores.items()]
        print_table(("label", "score", ""), rows)
    print_model(reply.model)
