"""`vlpserve caption`: what a picture shows, in words."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import click
from vlp_client import Client
from vlp_client.pictures import ImageSource

from vlp_cli.output import print_json, print_model
from vlp_cli.picture_argument import asking_options, bar, read_argument, told_faults
from vlp_cli.server_url import AskedServer
from vlp_cli.table import one_line, print_table

_LEFT_OUT = "The model's own number where left out."


def number(text: str) -> float:
    """A number that JSON can hold.

    Raises:
        ValueError: it is none.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


@click.command()
@click.argument("picture")
@click.option("--prompt", help="How the text begins.")
@click.option("--max-tokens", type=int, help=f"Longest text. {_LEFT_OUT}")
@click.option("--min-tokens", type=int, help=f"Shortest text. {_LEFT_OUT}")
@click.option("--num-beams", type=int, help=f"Texts kept side by side. {_LEFT_OUT}")
@click.option("--num-captions", type=int, help="How many captions; --num-beams not below it.")
@click.option("--length-penalty", type=number, help="Above 0 long texts win among beams, below 0 short ones.")
@click.option("--temperature", type=number, help="Above 0 words are drawn by chance.")
@click.option("--top-p", type=number, help="Draw among the likeliest tokens of so much probability.")
@click.option("--seed", type=int, help="The same one draws the same text.")
@click.option("--stream", is_flag=True, help="Print words as they are written.")
@asking_options
def caption(picture: str, stream: bool, server: AskedServer, fetch: bool, as_json: bool, **options: Any) -> None:
    """Say what PICTURE shows: a file, an http(s) URL (which the server fetches where it may, or --fetch), or -
    for standard input.
    """
    image, in_place = read_argument(picture, fetch=fetch)
    if image is None:
        raise click.UsageError(f"{in_place['regions']}: these are regions; give a picture")
    if stream and as_json:
        raise click.UsageError("--stream, --json: both are given; give one of them")
    with told_faults(picture), server.client() as client:
        if stream:
            _print_words(client, image, options)
            return
        reply = client.caption(image, **options)
    captions = [dataclasses.asdict(one) for one in reply.captions]
    if as_json:
        print_json({"model": reply.model, "captions": captions})
        return
    rows = [(one.text, f"{one.score:.3f}", bar(one.score)) for one in reply.captions]
    print_table(("caption", "score", ""), rows)
    print_model(reply.model)


def _print_words(client: Client, image: ImageSource, options: dict[str, Any]) -> None:
    """The words of the best caption as they come, and below it the other captions."""
    with client.stream_caption(image, **options) as words:
        try:
            for piece in words:
                click.echo(one_line(piece), nl=False)
        finally:
            click.echo()
    if words.answer is not None:
        for other in words.answer.captions[1:]:
            click.echo(one_line(other.text))
        print_model(words.answer.model)
