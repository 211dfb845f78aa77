"""`vlpserve embed`: vectors of texts and pictures."""

from __future__ import annotations

import math
from typing import Any

import click
from vlp_client import picture

from vlp_cli.output import print_json, print_model
from vlp_cli.picture_argument import asking_options, read_several, told_faults
from vlp_cli.server_url import AskedServer
from vlp_cli.table import print_table

_SHOWN = 4


@click.command()
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--image", "images", multiple=True, help="A picture: a file, an http(s) URL, or -; repeat it.")
@click.option("--dimensions", type=click.IntRange(1), help="Shorter vectors, where the model allows them.")
@asking_options
def embed(
    texts: tuple[str, ...],
    images: tuple[str, ...],
    dimensions: int | None,
    server: AskedServer,
    model: str | None,
    fetch: bool,
    as_json: bool,
) -> None:
    """Make a vector of each TEXT, and then of each --image. --json prints whole vectors, in OpenAI's shape."""
    if not texts and not images:
        raise click.UsageError("nothing to embed; give a TEXT or an --image")
    pictures = read_several(images, fetch=fetch)
    with told_faults(", ".join(images)), server.client() as client:
        items: list[Any] = [*texts, *map(picture, pictures)]
        reply = client.embed(items, dimensions=dimensions, model=model)
    if as_json:
        data = [
            {"object": "embedding", "index": index, "embedding": list(vector)}
            for index, vector in enumerate(reply.vectors)
        ]
        print_json({"object": "list", "data": data, "model": reply.model})
        return
    rows = [
        (
            name,
            str(len(vector)),
            f"{math.sqrt(math.fsum(value * value for value in vector)):.3f}",
            " ".join(f"{value:.4f}" for value in vector[:_SHOWN]) + (" ..." if len(vector) > _SHOWN else ""),
        )
        for name, vector in zip((*texts, *images), reply.vectors, strict=True)
    ]
    print_table(("item", "numbers", "length", "begins"), rows)
    print_model(reply.model)
