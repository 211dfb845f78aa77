"""`vlpserve index`: a folder, shards or a list of pictures -> a collection of a running server."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click
from vlp_client import CapacityError, Collection, ConnectError, ServerError, TimeoutError, VlpClientError

from vlp_cli.client_failures import failure_of
from vlp_cli.completion_values import complete_collection, complete_model
from vlp_cli.index_run import BatchBounds, Counts, ErrorFile, index_pictures
from vlp_cli.index_sources import id_of_path, open_source
from vlp_cli.main import RequestFailure
from vlp_cli.output import print_json
from vlp_cli.server_url import AskedServer, named_rightly, patient_server_options
from vlp_cli.table import counted


@click.command()
@click.argument("collection", shell_complete=complete_collection)
@click.argument("source", type=click.Path(path_type=Path))
@patient_server_options(300.0)
@click.option("--model", shell_complete=complete_model, help="Encoder of a new collection; none: the server's default.")
@click.option("--metric", default="cosine", show_default=True, help="Of a new collection: cosine, dot or l2.")
@click.option("--store-images/--no-store-images", default=True, help="Whether a new collection keeps the pictures.")
@click.option("--again", is_flag=True, help="Send also pictures that are there already, with their metadata.")
@click.option("--batch", default=32, show_default=True, type=click.IntRange(1, 1024), help="Pictures a call.")
@click.option("--parallel", default=4, show_default=True, type=click.IntRange(1, 64), help="Calls at a time.")
@click.option("--errors", type=click.Path(path_type=Path), help="JSONL of failures; none: COLLECTION.errors.jsonl.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def index(  # noqa: PLR0913 - one parameter an option
    collection: str,
    source: Path,
    server: AskedServer,
    model: str | None,
    metric: str,
    store_images: bool,
    again: bool,
    batch: int,
    parallel: int,
    errors: Path | None,
    as_json: bool,
) -> None:
    """Add the pictures of SOURCE to COLLECTION, which is made where there is none.

    SOURCE is a folder of pictures, a WebDataset shard (*.tar, as img2dataset writes them) or a folder of shards, or a
    JSONL list with "image" (a path beside the list, or an http(s) URL) and, if you like, "id" and "metadata". What is
    there already with the same picture is passed over, so a run that was cut off is simply started again.
    """
    found = open_source(source)
    failures = ErrorFile(errors or Path(f"{id_of_path(collection)}.errors.jsonl"))
    try:
        with named_rightly(), server.client() as client:
            target = client.collection(collection)
            _create_where_missing(target, model, metric, store_images)
            with click.progressbar(length=found.count, label=collection, file=sys.stderr) as bar:
                counts = index_pictures(
                    target,
                    found.read(),
                    bounds=BatchBounds(items=batch, parallel=parallel),
                    errors=failures,
                    again=again,
                    watch=bar.update,
                )
    except (CapacityError, ConnectError, TimeoutError) as error:
        raise failure_of(error, "; what was added stays, start the same command again to go on") from error
    except VlpClientError as error:
        raise failure_of(error) from error
    if as_json:
        print_json(dataclasses.asdict(counts))
    else:
        click.echo(_told(counts))
    if counts.failed:
        raise RequestFailure(f"{counted(counts.failed, 'picture')} not added; see {failures.path}")


def _told(counts: Counts) -> str:
    replaced = f"{counts.replaced} replaced, " if counts.replaced else ""
    return f"{counts.added} added, {replaced}{counts.present} there already, {counts.failed} failed"


def _create_where_missing(target: Collection, model: str | None, metric: str, store_images: bool) -> None:
    try:
        target.info()
    except ServerError as error:
        if error.kind != "collection_not_found":
            raise
        target.create(model=model, metric=metric, store_images=store_images)
