"""`vlpserve search`: find pictures of a collection from a terminal."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click
from vlp_client import Rerank

from vlp_cli.client_failures import told_faults
from vlp_cli.completion_values import complete_collection, complete_model
from vlp_cli.output import print_json, print_model
from vlp_cli.picture_argument import read_several
from vlp_cli.server_url import AskedServer, named_rightly, server_options
from vlp_cli.table import print_table

_METADATA_CHARS = 60


@click.command()
@click.argument("collection", shell_complete=complete_collection)
@click.argument("text", required=False)
@click.option("--image", help="Search by this picture in place of words: a file, an http(s) URL, or -.")
@click.option("--fetch", is_flag=True, help="Fetch http(s) URLs here, for a server that may not.")
@click.option("-k", default=10, show_default=True, help="Hits wanted.")
@click.option("--filter", "condition", help='Which items may be hits, as JSON: {"kind": "disc", "size": {"gte": 2}}.')
@click.option("--rerank", type=click.IntRange(1), help="Let a matching model look at so many first hits again.")
@click.option("--rerank-model", shell_complete=complete_model, help="Which one; none: the server's default.")
@server_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def search(  # noqa: PLR0913 - one parameter an option
    collection: str,
    text: str | None,
    image: str | None,
    fetch: bool,
    k: int,
    condition: str | None,
    rerank: int | None,
    rerank_model: str | None,
    server: AskedServer,
    as_json: bool,
) -> None:
    """Find pictures of COLLECTION that TEXT describes, or that are like --image."""
    wish = None if rerank is None and rerank_model is None else Rerank(rerank, rerank_model)
    wanted = _condition(condition)
    query = None if image is None else read_several([image], fetch=fetch)[0]
    with told_faults(str(image)), named_rightly(), server.client() as client:
        found = client.collection(collection).search(text, image=query, k=k, filter=wanted, rerank=wish or False)
    if as_json:
        document = dataclasses.asdict(found)
        del document["timings_ms"]
        print_json(document)
        return
    again = found.reranked_by is not None
    head = ("id", "score", *(("reranked",) if again else ()), "metadata")
    rows = [
        (hit.id, f"{hit.score:.3f}", *((_score(hit.rerank_score),) if again else ()), _short(hit.metadata))
        for hit in found.hits
    ]
    if rows:
        print_table(head, rows)
    else:
        click.echo("no hits")
    print_model(found.model, f", reranked by {found.reranked_by}" if again else "")


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _condition(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--filter: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise click.UsageError("--filter: expected a JSON object")
    return value


def _short(metadata: Any) -> str:
    text = json.dumps(metadata, ensure_ascii=False)
    return text if len(text) <= _METADATA_CHARS else text[: _METADATA_CHARS - 3] + "..."
