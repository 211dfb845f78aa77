"""`vlpserve index`: a folder, shards or a list of pictures -> a collection of a running server."""

from __future__ import annotations

from pathlib import Path

import click
from vlp_client import CapacityError, Collection, ConnectError, ServerError, TimeoutError, VlpClientError

from vlp_cli.index_run import BatchBounds, ErrorFile, index_pictures
from vlp_cli.index_sources import id_of_path, open_source
from vlp_cli.main import RequestFailure
from vlp_cli.server_url import AskedServer, server_options
from vlp_cli.table import counted


@click.command()
@click.argument("collection")
@click.argument("source", type=click.Path(path_type=Path))
@server_options
@click.option("--model", help="Encoder of a new collection; none: the server's default.")
@click.option("--metric", default="cosine", show_default=True, help="Of a new collection: cosine, dot or l2.")
@click.option("--store-images/--no-store-images", default=True, help="Whether a new collection keeps the pictures.")
@click.option("--again", is_flag=True, help="Send also pictures that are there already, with their metadata.")
@click.option("--batch", default=32, show_default=True, type=click.IntRange(1, 1024), help="Pictures a call.")
@click.option("--parallel", default=4, show_default=True, type=click.IntRange(1, 64), help="Calls at a time.")
@click.option("--errors", type=click.Path(path_type=Path), help="JSONL of failures; none: COLLECTION.errors.jsonl.")
@click.option("--timeout", "timeout_s", default=300.0, show_default=True, help="Seconds to wait for a call.")
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
    timeout_s: float,
) -> None:
    """Add the pictures of SOURCE to COLLECTION, which is made where there is none.

    SOURCE is a folder of pictures, a WebDataset shard (*.tar, as img2dataset writes them) or a folder of shards, or a
    JSONL list with "image" (a path beside the list, or an http(s) URL) and, if you like, "id" and "metadata". What is
    there already with the same picture is passed over, so a run that was cut off is simply started again.
    """
    found = open_source(source)
    failures = ErrorFile(errors or Path(f"{id_of_path(collection)}.errors.jsonl"))
    try:
        with server.client(timeout_s=timeout_s) as client:
            target = client.collection(collection)
            _create_where_missing(target, model, metric, store_images)
            with click.progressbar(length=found.count, label=collection) as bar:
                counts = index_pictures(
                    target,
                    found.read(),
                    bounds=BatchBounds(items=batch, parallel=parallel),
                    errors=failures,
                    again=again,
                    watch=bar.update,
                )
    except (CapacityError, ConnectError, TimeoutError) as error:
        raise RequestFailure(f"{error}; what was added stays, start the same command again to go on") from error
    except VlpClientError as error:
        raise RequestFailure(str(error)) from error
    replaced = f"{counts.replaced} replaced, " if counts.replaced else ""
    click.echo(f"{counts.added} added, {replaced}{counts.present} there already, {counts.failed} failed")
    if counts.failed:
        raise RequestFailure(f"{counted(counts.failed, 'picture')} not added; see {failures.path}")


def _create_where_missing(target: Collection, model: str | None, metric: str, store_images: bool) -> None:
    try:
        target.info()
    except ServerError as error:
        if error.kind != "collection_not_found":
            raise
        target.create(model=model, metric=metric, store_images=store_images)
