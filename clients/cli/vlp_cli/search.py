"""`vlpserve search`: find pictures of a collection from a terminal."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click
from vlp_client import Rerank, VlpClientError

from vlp_cli.main import CommandFailure, RequestFailure
from vlp_cli.server_url import AskedServer, server_options
from vlp_cli.table import format_table

_METADATA_CHARS = 60


@click.command()
@click.argument("collection")
@click.argument("text", required=False)
@click.option("--image", type=click.Path(path_type=Path), help="Search by this picture in place of words.")
@click.option("-k", default=10, show_default=True, help="Hits wanted.")
@click.option("--filter", "condition", help='Which items may be hits, as JSON: {"kind": "disc", "size": {"gte": 2}}.')
@click.option("--rerank", type=click.IntRange(1), help="Let a matching model look at so many first hits again.")
@click.option("--rerank-model", help="Which one; none: the server's default.")
@server_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def search(  # noqa: PLR0913 - one parameter an option
    collection: str,
    text: str | None,
    image: Path | None,
    k: int,
    condition: str | None,
    rerank: int | None,
    rerank_model: str | None,
    server: AskedServer,
    as_json: bool,
) -> None:
    """Find pictures of COLLECTION that TEXT describes, or that are like --image."""
    wish = None if rerank is None and rerank_model is None else Rerank(rerank, rerank_model)
    try:
        with server.client() as client:
            found = client.collection(collection).search(
                text, image=image, k=k, filter=_condition(condition), rerank=wish or False
            )
    except VlpClientError as error:
        raise RequestFailure(str(error)) from error
    except OSError as error:
        raise CommandFailure(f"{image}: {error.strerror or error}") from error
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found)))
        return
    again = found.reranked_by is not None
    head = ("id", "score", *(("reranked",) if again else ()), "metadata")
    rows = [
        (hit.id, f"{hit.score:.3f}", *((_score(hit.rerank_score),) if again else ()), _short(hit.metadata))
        for hit in found.hits
    ]
    click.echo(format_table(head, rows) if rows else "no hits")
    click.echo(f"({found.model}{'' if found.reranked_by is None else f', reranked by {found.reranked_by}'})")


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
