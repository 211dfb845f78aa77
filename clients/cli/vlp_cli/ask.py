"""`vlpserve ask`: the client for a terminal."""

from __future__ import annotations

import dataclasses
import json
import sys

import click
from vlp_client import Answer, Client, VlpClientError

from vlp_cli.main import CommandFailure, RequestFailure
from vlp_cli.server_url import url_option
from vlp_cli.table import format_table

_BAR_CHARS = 20


@click.command()
@click.argument("image")
@click.argument("questions", nargs=-1, required=True, metavar="QUESTION...")
@url_option
@click.option("--top-k", default=5, show_default=True, help="Answers to each question.")
@click.option("--answer", "answers", multiple=True, help="An answer of a closed list; repeat it.")
@click.option("--model", help="name, name@version or name@alias.")
@click.option("--timeout", "timeout_s", default=60.0, show_default=True, help="Seconds to wait.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ask(
    image: str,
    questions: tuple[str, ...],
    url: str,
    top_k: int,
    answers: tuple[str, ...],
    model: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Ask QUESTIONs about IMAGE: a file, an http(s) URL that the server may fetch, or - for standard input."""
    picture = sys.stdin.buffer.read() if image == "-" else image
    try:
        with Client(url, timeout_s=timeout_s) as client:
            reply = client.vqa(picture, list(questions), top_k=top_k, answers=answers or None, model=model)
    except VlpClientError as error:
        raise RequestFailure(str(error)) from error
    except OSError as error:
        raise CommandFailure(f"{image}: {error.strerror or error}") from error
    if as_json:
        click.echo(json.dumps({"model": reply.model, "results": [dataclasses.asdict(item) for item in reply.results]}))
        return
    for result in reply.results:
        if len(reply.results) > 1:
            click.echo(f"{result.question}")
        click.echo(format_table(("answer", "score", ""), [_row(answer) for answer in result.answers]))
    click.echo(f"({reply.model})")


def _row(answer: Answer) -> tuple[str, str, str]:
    return answer.answer, f"{answer.score:.3f}", "#" * round(answer.score * _BAR_CHARS)
