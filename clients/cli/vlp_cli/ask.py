"""`vlpserve ask`: the client for a terminal."""

from __future__ import annotations

import click
from vlp_client import Answer

from vlp_cli.output import print_model, print_results
from vlp_cli.picture_argument import asking_options, bar, read_argument, told_faults
from vlp_cli.server_url import AskedServer
from vlp_cli.table import one_line, print_table


@click.command()
@click.argument("image")
@click.argument("questions", nargs=-1, required=True, metavar="QUESTION...")
@click.option("--top-k", default=5, show_default=True, help="Answers to each question.")
@click.option("--answer", "answers", multiple=True, help="An answer of a closed list; repeat it.")
@asking_options
def ask(
    image: str,
    questions: tuple[str, ...],
    server: AskedServer,
    top_k: int,
    answers: tuple[str, ...],
    model: str | None,
    fetch: bool,
    as_json: bool,
) -> None:
    """Ask QUESTIONs about IMAGE: a file, an http(s) URL (which the server fetches where it may, or --fetch), - for
    standard input, or an .npz file of regions, for a model that reads these.
    """
    picture, regions = read_argument(image, fetch=fetch)
    with told_faults(image), server.client() as client:
        reply = client.vqa(picture, list(questions), top_k=top_k, answers=answers or None, model=model, **regions)
    if as_json:
        print_results(reply.model, reply.results)
        return
    for result in reply.results:
        if len(reply.results) > 1:
            click.echo(one_line(result.question))
        print_table(("answer", "score", ""), [_row(answer) for answer in result.answers])
    print_model(reply.model)


def _row(answer: Answer) -> tuple[str, str, str]:
    return answer.answer, f"{answer.score:.3f}", bar(answer.score)
